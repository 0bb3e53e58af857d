/* What is asked of the compiled stack: float32 numbers throughout; Python's twin of these is library.py. */
#ifndef COMPILED_H
#define COMPILED_H

#include <stdint.h>

/* y [R, rows] = x [R, columns] times the transpose of a weight [rows, columns], + bias where there is one.
 * packed: panels of the weight's rows, see `pack`. */
typedef struct {
    int64_t rows, columns;
    const float *packed, *bias;
} Product;

typedef struct {
    const float *attention_norm, *mlp_norm;
    Product qkv, out, gate_up, down;
} Layer;

/* A Llama decoder over a K/V cache. keys [layers, kv_heads, head_dim, length]: transposed; values [layers, kv_heads,
 * length, head_dim]; queries [layers, heads, kept, head_dim]; cosine, sine [positions, head_dim]. Working memory for
 * `capacity` rows: x, normed [capacity, width], qkv, mixed, gate_up; scores of each thread [TILE_ROWS, length];
 * numbers [5, capacity]; slot_position [length]. */
typedef struct {
    int64_t layers, width, heads, kv_heads, head_dim, intermediate, length, kept, capacity;
    double epsilon;
    const Layer *layer;
    const float *norm, *embedding, *cosine, *sine;
    Product head;
    float *keys, *values, *queries;
    float *x, *normed, *qkv, *mixed, *gate_up, *scores;
    int64_t *numbers, *slot_position;
} Decoder;

/* Rows of one pass, as a RowPlan has them; inputs: rows that are no embedded tokens. narrowings: from layer
 * narrow_layer[n] on only the rows narrow_rows[n] [narrow_count[n]] go on. states [out, width], logits [out, rows of
 * the head] or NULL. */
typedef struct {
    int64_t rows, area, out, first_text, words, narrowings;
    const int64_t *source, *token, *position, *slot, *seen, *branch;
    const int64_t *narrow_layer, *narrow_count;
    const int64_t *const *narrow_rows;
    const float *inputs;
    float *states, *logits;
} Pass;

typedef struct {
    const float *norm1, *norm1_bias, *norm2, *norm2_bias;
    Product qkv, proj, fc1, fc2;
} Block;

/* A vision transformer. stem: rows 0 where there is none; embed: of patches, or of the stem's channels; positions
 * [patches, width]; prefix [prefixes, width]; centre: what is taken off the bytes, by channel; what else
 * normalises them is folded into the first weights. Working memory: picture, a line of the stem for each thread, cells,
 * x and normed [rows, width], qkv, mixed, keys, values, hidden_rows, scores; seen, none [rows]: all rows, and zeros. */
typedef struct {
    int64_t image, grid, patch, width, depth, heads, hidden, prefixes, length;
    double epsilon;
    float centre[3];
    Product stem, embed;
    const float *positions, *prefix;
    const Block *block;
    float *picture, *line, *cells, *x, *normed, *qkv, *mixed, *keys, *values, *hidden_rows, *scores;
    int64_t *seen, *none;
} Tower;

/* Linear layers with GELU between them. */
typedef struct {
    int64_t count, features;
    Product product[3];
    float *between[2];
} Projector;

/* Pictures [image, image, 3] of cameras in grid^2 patches each. cells, last, undone, reference [cameras, grid^2,
 * VALUES]: of this picture and the last one, as this one were in the first light, and as each token was computed in it;
 * levels, levels_before [cameras, grid^2]: means of the first two; gain, offset against the first light, noise floor
 * [cameras]. terms [pixels of a patch + 1]: n log n. Working memory: columns [3 * image], work [3, grid^2]. */
typedef struct {
    int64_t cameras, grid, image;
    float *cells, *last, *undone, *reference, *levels, *levels_before, *gain, *offset, *floor;
    const double *terms;
    double *work;
    uint32_t *columns;
} Scene;

/* A selection among tokens. Of each: embedding `now` and those it was computed from, in the last layers, too [tokens,
 * width]; attention information, age [ticks], which are fresh in any case; the budgets, taper 0 for none. Made of it:
 * visual information, which are fresh for it, which at all, which in the last layers. Working memory [tokens]: drift to
 * near. */
typedef struct {
    int64_t tokens, width, k_vis, budget, taper;
    const float *now, *stored, *deep_stored;
    const double *attention;
    const int64_t *age;
    const uint8_t *by_attention, *old;
    float *drift;
    double *change, *urgency, *work;
    int64_t *near;
    double *visual;
    uint8_t *by_visual, *fresh, *deep;
} Selecting;

#endif

/* A vision transformer over one picture of bytes, and the projector behind it. */
#ifndef TOWER_H
#define TOWER_H

#include "attention.h"

#define STEM_SIDE 5 /* pixels of the stem's window, 2 apart */

/* x [rows, width] -> gelu(x), shared by a team. */
static void gelu_rows(int64_t rows, int64_t width, float *x) {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < width; j += LANES)
            store_most(x + i * width + j, gelu(load_most(x + i * width + j, width - j, 0.0f)), width - j);
}

static void layer_norm(int64_t rows, int64_t width, const float *x, const float *weight, const float *bias,
                       double epsilon, float *to) {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        const float *from = x + i * width;
        vec whole = {0}, squares = {0};
        for (int64_t j = 0; j < width; j += LANES) whole += load_most(from + j, width - j, 0.0f);
        const float mean = sum(whole) / (float)width;
        for (int64_t j = 0; j < width; j += LANES) {
            const vec apart = load_most(from + j, width - j, mean) - all(mean);
            squares += apart * apart;
        }
        const vec by = all(1.0f / sqrtf(sum(squares) / (float)width + (float)epsilon));
        for (int64_t j = 0; j < width; j += LANES) {
            const int64_t left = width - j;
            const vec scaled = (load_most(from + j, left, 0.0f) - all(mean)) * by;
            const vec moved = scaled * load_most(weight + j, left, 0.0f) + load_most(bias + j, left, 0.0f);
            store_most(to + i * width + j, moved, left);
        }
    }
}

/* The picture [image, image, 3] as numbers, within a border of zeros where a stem looks beyond its edge. */
static void take_in(const Tower *of, const uint8_t *frame) {
    const int64_t border = of->stem.rows ? 2 : 0, side = of->image + 2 * border;
    const float red = of->centre[0], green = of->centre[1], blue = of->centre[2];
#pragma omp for schedule(static)
    for (int64_t y = 0; y < of->image; y++) {
        const uint8_t *from = frame + y * of->image * 3;
        float *to = of->picture + ((y + border) * side + border) * 3;
        for (int64_t x = 0; x < of->image * 3; x += 3) {
            to[x] = (float)from[x] - red;
            to[x + 1] = (float)from[x + 1] - green;
            to[x + 2] = (float)from[x + 2] - blue;
        }
    }
}

/* One line of the stem's channels, through GELU to the patches [patches, half, half, channels] that they belong to. */
static void stem_line(const Tower *of, int64_t y, float *line) {
    const int64_t side = of->image + 4, pixels = of->image / 2, half = of->patch / 2, channels = of->stem.rows;
    const int64_t blocks = (pixels + TILE_ROWS - 1) / TILE_ROWS, panel = of->stem.columns * PANEL;
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t from = first_of(block, blocks, pixels), m = first_of(block + 1, blocks, pixels) - from;
        const float *A = of->picture + (2 * y * side + 2 * from) * 3;
        for (int64_t at = 0; at < channels; at += PANEL) {
            one_panel(m, A, 6, STEM_SIDE, 3 * STEM_SIDE, 3 * side, of->stem.packed + at / PANEL * panel, PANEL,
                      line + from * channels + at, channels, least(PANEL, channels - at), BIAS, of->stem.bias + at);
        }
    }
    const int64_t in_patch = half * channels; /* of one line */
    for (int64_t patch = 0; patch < of->grid; patch++) {
        const float *from = line + patch * in_patch;
        float *to = of->cells + ((y / half * of->grid + patch) * half + y % half) * in_patch;
        for (int64_t n = 0; n < in_patch; n += LANES)
            store_most(to + n, gelu(load_most(from + n, in_patch - n, 0.0f)), in_patch - n);
    }
}

/* Cells [patches, numbers of a patch] of the picture: the stem's channels, or the pixels themselves. */
static void cut(const Tower *of) {
    const int64_t pixels = of->image / 2 * of->stem.rows;
    if (of->stem.rows) {
#pragma omp for schedule(static)
        for (int64_t y = 0; y < of->image / 2; y++) stem_line(of, y, of->line + thread_number() * pixels);
        return;
    }
    const int64_t in_patch = of->patch * 3;
#pragma omp for schedule(static)
    for (int64_t y = 0; y < of->grid * of->patch; y++)
        for (int64_t patch = 0; patch < of->grid; patch++)
            memcpy(of->cells + ((y / of->patch * of->grid + patch) * of->patch + y % of->patch) * in_patch,
                   of->picture + (y * of->image + patch * of->patch) * 3, (size_t)in_patch * sizeof(float));
}

/* Keys, transposed, and values of a block, by head. */
static void spread(const Tower *of, int64_t rows) {
    const int64_t width = of->width / of->heads, step = 3 * of->width;
#pragma omp for collapse(2) schedule(static)
    for (int64_t head = 0; head < of->heads; head++)
        for (int64_t i = 0; i < rows; i++) {
            const float *key = of->qkv + i * step + of->width + head * width;
            float *keys = of->keys + head * width * of->length + i;
            for (int64_t d = 0; d < width; d++) keys[d * of->length] = key[d];
            memcpy(of->values + (head * of->length + i) * width, key + of->width, (size_t)width * sizeof(float));
        }
}

static void run_block(const Tower *of, const Block *block, int64_t rows) {
    const int64_t width = of->width;
    const Sight sight = {of->seen, of->none, 0, 0};
    layer_norm(rows, width, of->x, block->norm1, block->norm1_bias, of->epsilon, of->normed);
    multiply(rows, of->normed, width, &block->qkv, of->qkv, 3 * width, 0, NOTHING);
    spread(of, rows);
    attend(rows, of->qkv, 3 * width, of->heads, of->heads, width / of->heads, of->keys, of->values, of->length, &sight,
           of->mixed, of->scores, NOTHING);
    multiply(rows, of->mixed, width, &block->proj, of->x, width, 1, NOTHING);
    layer_norm(rows, width, of->x, block->norm2, block->norm2_bias, of->epsilon, of->normed);
    multiply(rows, of->normed, width, &block->fc1, of->hidden_rows, of->hidden, 0, NOTHING);
    gelu_rows(rows, of->hidden, of->hidden_rows);
    multiply(rows, of->hidden_rows, of->hidden, &block->fc2, of->x, width, 1, NOTHING);
}

/* Features [patches, width] of a frame [image, image, 3], written `step` apart. */
static void look(const Tower *of, const uint8_t *frame, float *features, int64_t step, int threads) {
    const int64_t patches = of->grid * of->grid, width = of->width, rows = of->prefixes + patches;
    float *x = of->x + of->prefixes * width;
    memcpy(of->x, of->prefix, (size_t)(of->prefixes * width) * sizeof(float));
    memcpy(x, of->positions, (size_t)(patches * width) * sizeof(float));
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        take_in(of, frame);
        cut(of);
        multiply(patches, of->cells, of->embed.columns, &of->embed, x, width, 1, NOTHING);
        for (int64_t n = 0; n < of->depth; n++) run_block(of, of->block + n, rows);
    }
    for (int64_t i = 0; i < patches; i++) memcpy(features + i * step, x + i * width, (size_t)width * sizeof(float));
}

/* Visual tokens [rows, width of the last layer] of features [rows, features]. */
static void project(const Projector *of, int64_t rows, const float *features, float *tokens, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const float *from = features;
        int64_t step = of->features;
        for (int64_t n = 0; n < of->count; n++) {
            float *to = n == of->count - 1 ? tokens : of->between[n];
            const int64_t width = of->product[n].rows;
            multiply(rows, from, step, &of->product[n], to, width, 0, NOTHING);
            if (n < of->count - 1) gelu_rows(rows, width, to);
            from = to, step = width;
        }
    }
}

#endif

/* A random decoder run by one variant of the stack, on whatever this is built for: prints a sum over its logits, and
 * how many rows differ from the same row alone. Built by test_elsewhere.py. */
#include <stdio.h>
#include <stdlib.h>

#include FAMILY

enum { LAYERS = 3, HEADS = 6, KV = 2, HEAD = 20, WIDTH = HEADS * HEAD, HIDDEN = 72, WORDS = 61, LENGTH = 96, ROWS_ = 70 };

static uint32_t state = 1;
static float noise(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 9) / 8388608.0f - 0.5f;
}
static float *floats(size_t count) { return calloc(count + 64, sizeof(float)); }
static float *near_one(size_t count) {
    float *made = floats(count);
    for (size_t i = 0; i < count; i++) made[i] = 1.0f + 0.2f * noise();
    return made;
}
static Product product(int64_t rows, int64_t columns) {
    float *weight = floats(rows * columns), *packed = floats((rows + PANEL) * columns);
    for (int64_t i = 0; i < rows * columns; i++) weight[i] = 3.4f * noise() / sqrtf((float)columns);
    pack_weight(weight, rows, columns, packed);
    return (Product){rows, columns, packed, 0};
}

int main(void) {
    Layer layer[LAYERS];
    for (int n = 0; n < LAYERS; n++)
        layer[n] = (Layer){near_one(WIDTH), near_one(WIDTH), product((HEADS + 2 * KV) * HEAD, WIDTH),
                           product(WIDTH, WIDTH), product(2 * HIDDEN, WIDTH), product(WIDTH, HIDDEN)};
    float *cosine = floats(LENGTH * HEAD), *sine = floats(LENGTH * HEAD);
    for (int p = 0; p < LENGTH; p++)
        for (int d = 0; d < HEAD; d++) {
            const double angle = p * pow(10000, -2.0 * (d % (HEAD / 2)) / HEAD);
            cosine[p * HEAD + d] = (float)cos(angle);
            sine[p * HEAD + d] = (float)(d < HEAD / 2 ? -sin(angle) : sin(angle));
        }
    const int64_t kept = KV * HEAD * LENGTH * LAYERS;
    Decoder of = {
        .layers = LAYERS, .width = WIDTH, .heads = HEADS, .kv_heads = KV, .head_dim = HEAD, .intermediate = HIDDEN,
        .length = LENGTH, .kept = 1, .capacity = ROWS_, .epsilon = 1e-6, .layer = layer, .norm = near_one(WIDTH),
        .embedding = floats(1), .cosine = cosine, .sine = sine, .head = product(WORDS, WIDTH), .keys = floats(kept),
        .values = floats(kept), .queries = floats(LAYERS * WIDTH), .x = floats(ROWS_ * WIDTH),
        .normed = floats(ROWS_ * WIDTH), .qkv = floats(ROWS_ * (HEADS + 2 * KV) * HEAD), .mixed = floats(ROWS_ * WIDTH),
        .gate_up = floats(ROWS_ * 2 * HIDDEN), .scores = floats(TILE_ROWS * LENGTH),
        .numbers = calloc(5 * ROWS_, sizeof(int64_t)), .slot_position = calloc(LENGTH, sizeof(int64_t))};
    float *inputs = floats(ROWS_ * WIDTH), *states = floats(ROWS_ * WIDTH), *logits = floats(ROWS_ * WORDS);
    float *alone = floats(WORDS), *its_state = floats(WIDTH);
    for (int i = 0; i < ROWS_ * WIDTH; i++) inputs[i] = 2.0f * noise();
    int64_t where[ROWS_], seen[ROWS_], none[ROWS_] = {0};
    for (int i = 0; i < ROWS_; i++) where[i] = i, seen[i] = i + 1;
    const Pass whole = {.rows = ROWS_, .area = ROWS_, .out = ROWS_, .source = where, .token = none, .position = where,
                        .slot = where, .seen = seen, .branch = none, .inputs = inputs, .states = states,
                        .logits = logits};
    decode(&of, &whole, 1);
    double all_of_them = 0;
    for (int i = 0; i < ROWS_ * WORDS; i++) all_of_them += logits[i] * (i % 7 - 3);
    int differing = 0;
    for (int i = 0; i < ROWS_; i++) {
        Pass one = whole;
        one.rows = one.out = 1, one.source = one.position = one.slot = where + i, one.seen = seen + i;
        one.states = its_state, one.logits = alone;
        decode(&of, &one, 1);
        differing += memcmp(alone, logits + i * WORDS, sizeof(float) * WORDS) != 0;
    }
    printf("%.4f %d\n", all_of_them, differing);
    return 0;
}

/* Attention of rows over slots: only slots that a row sees are looked at, so nothing else can spoil it. */
#ifndef ATTENTION_H
#define ATTENTION_H

#include "products.h"

#define BITS 62 /* of a row's branch */

/* Rows [count], in order: row n sees the first seen[n] slots, and slot area + b for each bit b of branch[n]. */
typedef struct {
    const int64_t *seen, *branch, *slot_position;
    int64_t area;
} Sight;

/* How many of the leading slots that a row sees stand in the order of their positions. */
static int64_t in_order(const Sight *sight, int64_t row) {
    const int64_t seen = sight->seen[row];
    for (int64_t slot = sight->area; sight->slot_position && slot < seen; slot++)
        if (sight->slot_position[slot] != slot) return sight->area;
    return seen;
}

/* Slots from `from` on that a row sees, in the order of their positions, in which plain decoding has them. */
static int64_t beyond(const Sight *sight, int64_t row, int64_t from, int64_t *slots) {
    int64_t found = 0;
    const uint64_t branch = (uint64_t)sight->branch[row];
    for (int64_t bit = 0; bit < BITS; bit++) {
        const int64_t slot = sight->area + bit;
        if (slot >= sight->seen[row] && !(branch >> bit)) break;
        if (slot < from || (slot >= sight->seen[row] && !(branch >> bit & 1))) continue;
        int64_t at = found++;
        for (; at && sight->slot_position[slots[at - 1]] > sight->slot_position[slot]; at--) slots[at] = slots[at - 1];
        slots[at] = slot;
    }
    return found;
}

/* Scores [n] -> e^(scale * (score - highest)); returns their sum. */
INLINE float soften(float *scores, int64_t n, float scale) {
    vec top = load_most(scores, n, -INFINITY);
    for (int64_t j = LANES; j < n; j += LANES) {
        const vec now = load_most(scores + j, n - j, -INFINITY);
        top = choose(now > top, now, top);
    }
    const vec above = all(highest(top)), by = all(scale);
    vec whole = {0};
    for (int64_t j = 0; j < n; j += LANES) {
        const vec weight = exponential((load_most(scores + j, n - j, -INFINITY) - above) * by);
        whole += weight;
        store_most(scores + j, weight, n - j);
    }
    return sum(whole);
}

/* out [m, head_dim] += weights [m, depth] times values [depth, head_dim]. */
INLINE void weigh(int64_t m, const float *weights, int64_t step, int64_t depth, const float *values, int64_t width,
                  float *out, int64_t out_step) {
    for (int64_t at = 0; at < width && depth > 0; at += PANEL)
        one_panel(m, weights, step, 1, depth, 0, values + at, width, out + at, out_step, least(PANEL, width - at), GO_ON,
                  0);
}

/* Mixed values of m rows in one head. scores: working memory [m, length]. */
static void attend_block(int64_t m, int64_t row, const float *q, int64_t q_step, const float *keys, const float *values,
                         int64_t length, int64_t width, const Sight *sight, float scale, float *out, int64_t out_step,
                         float *scores) {
    int64_t reach = 0, common = length, ascending = 1, leading[TILE_ROWS], far[TILE_ROWS], slots[TILE_ROWS][BITS];
    float whole[TILE_ROWS];
    for (int64_t i = 0; i < m; i++) {
        const int64_t seen = sight->seen[row + i], branch = sight->branch[row + i];
        leading[i] = in_order(sight, row + i);
        far[i] = branch || leading[i] < seen ? beyond(sight, row + i, leading[i], slots[i]) : 0;
        const int64_t end = branch ? sight->area + 64 - __builtin_clzll((uint64_t)branch) : seen;
        reach = end > reach ? end : reach;
        reach = seen > reach ? seen : reach;
        common = least(common, leading[i]);
        ascending &= !i || leading[i] >= leading[i - 1];
    }
    for (int64_t at = 0; at < reach; at += PANEL)
        one_panel(m, q, q_step, 1, width, 0, keys + at, length, scores + at, length, least(PANEL, length - at), ZERO, 0);
    for (int64_t i = 0; i < m; i++) {
        float *mine = scores + i * length, apart[BITS];
        const int64_t seen = leading[i];
        for (int64_t n = 0; n < far[i]; n++) apart[n] = mine[slots[i][n]];
        memcpy(mine + seen, apart, (size_t)far[i] * sizeof(float));
        whole[i] = soften(mine, seen + far[i], scale);
        memset(out + i * out_step, 0, (size_t)width * sizeof(float));
    }
    weigh(m, scores, length, common, values, width, out, out_step);
    for (int64_t i = 0, from = common; i < m; i++) {
        const int64_t seen = leading[i];
        if (ascending) { /* what this row sees, those behind it see, too */
            weigh(m - i, scores + i * length + from, length, seen - from, values + from * width, width,
                  out + i * out_step, out_step);
            from = seen;
        } else {
            weigh(1, scores + i * length + common, length, seen - common, values + common * width, width,
                  out + i * out_step, out_step);
        }
        for (int64_t n = 0; n < far[i]; n++)
            weigh(1, scores + i * length + seen + n, length, 1, values + slots[i][n] * width, width,
                  out + i * out_step, out_step);
    }
    for (int64_t i = 0; i < m; i++) {
        const float share = 1.0f / whole[i];
        for (int64_t d = 0; d < width; d++) out[i * out_step + d] *= share;
    }
}

/* Mixed values [rows, heads * head_dim] of q [rows, heads, head_dim], shared by a team; keys transposed. */
static void attend(int64_t rows, const float *q, int64_t q_step, int64_t heads, int64_t kv_heads, int64_t width,
                   const float *keys, const float *values, int64_t length, const Sight *sight, float *out, float *scores,
                   Next next) {
    const int64_t blocks = (rows + TILE_ROWS - 1) / TILE_ROWS, apart = length * width;
    const float scale = 1.0f / sqrtf((float)width);
#pragma omp for collapse(2) schedule(static)
    for (int64_t head = 0; head < heads; head++) {
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t row = first_of(block, blocks, rows), m = first_of(block + 1, blocks, rows) - row;
            const int64_t kv = head / (heads / kv_heads);
            ask_for(next, head * blocks + block, heads * blocks);
            attend_block(m, row, q + row * q_step + head * width, q_step, keys + kv * apart, values + kv * apart, length,
                         width, sight, scale, out + row * heads * width + head * width, heads * width,
                         scores + thread_number() * TILE_ROWS * length);
        }
    }
}

#endif

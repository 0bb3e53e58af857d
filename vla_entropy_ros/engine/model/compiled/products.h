/* Products with packed weights. Every sum runs over the columns in ascending order, one accumulator for each number:
 * what a row gives does not depend, bit for bit, on the rows beside it. */
#ifndef PRODUCTS_H
#define PRODUCTS_H

#include "compiled.h"
#include "vectors.h"

/* How accumulators begin: at zero, at a bias, or at what is there. ONTO: from zero, and at the end added to what is
 * there, which is larger: begun there, every term would be rounded to its last bit. */
enum { ZERO, BIAS, GO_ON, ONTO, BIAS_ONTO };

/* Up to TILE_ROWS rows of A [m, segments * depth] times B: `vectors` vectors a row, of panels `panel_step` apart, whose
 * rows are `b_step` apart. Segments of A are `jump` apart. */
INLINE void tile(const int m, const int vectors, const float *A, int64_t a_step, int64_t segments, int64_t depth,
                 int64_t jump, const float *B, int64_t b_step, int64_t panel_step, float *C, int64_t c_step, int begin,
                 const float *bias) {
    vec sums[TILE_ROWS][8];
    if (begin == ZERO || begin == ONTO) {
        UNROLL for (int i = 0; i < m; i++) UNROLL for (int j = 0; j < vectors; j++) sums[i][j] = (vec){0};
    } else {
        const float *from = begin == GO_ON ? C : bias;
        const int64_t step = begin == GO_ON ? c_step : 0;
        UNROLL for (int i = 0; i < m; i++)
            UNROLL for (int j = 0; j < vectors; j++) sums[i][j] = load(from + i * step + j * LANES);
    }
    for (int64_t segment = 0; segment < segments; segment++) {
        const float *a = A + segment * jump;
        for (int64_t k = 0; k < depth; k++, B += b_step) {
            vec b[8];
            UNROLL for (int j = 0; j < vectors; j++) b[j] = load(B + (j / 2) * panel_step + (j % 2) * LANES);
            UNROLL for (int i = 0; i < m; i++) {
                const float number = a[i * a_step + k];
                UNROLL for (int j = 0; j < vectors; j++) sums[i][j] += number * b[j];
            }
        }
    }
    if (begin >= ONTO)
        UNROLL for (int i = 0; i < m; i++)
            UNROLL for (int j = 0; j < vectors; j++) sums[i][j] += load(C + i * c_step + j * LANES);
    UNROLL for (int i = 0; i < m; i++)
        UNROLL for (int j = 0; j < vectors; j++) store(C + i * c_step + j * LANES, sums[i][j]);
}

/* `tile` for any number of rows up to TILE_ROWS, of one panel; not inlined, for its size. */
static __attribute__((noinline)) void full_panel(int64_t m, int vectors, const float *A, int64_t a_step,
                                                 int64_t segments, int64_t depth, int64_t jump, const float *B,
                                                 int64_t b_step, float *C, int64_t c_step, int begin,
                                                 const float *bias) {
#define ROWS(n)                                                                                                       \
    case n:                                                                                                           \
        if (vectors == 1) tile(n, 1, A, a_step, segments, depth, jump, B, b_step, 0, C, c_step, begin, bias);         \
        else tile(n, 2, A, a_step, segments, depth, jump, B, b_step, 0, C, c_step, begin, bias);                      \
        break;
    switch (m) {
        ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6)
#if TILE_ROWS > 6
        ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12)
#endif
    }
#undef ROWS
}

/* The first `columns` of a panel: only those are read from C and written. */
static void one_panel(int64_t m, const float *A, int64_t a_step, int64_t segments, int64_t depth, int64_t jump,
                      const float *B, int64_t b_step, float *C, int64_t c_step, int64_t columns, int begin,
                      const float *bias) {
    const int vectors = columns <= LANES ? 1 : 2;
    if (columns == vectors * LANES) {
        full_panel(m, vectors, A, a_step, segments, depth, jump, B, b_step, C, c_step, begin, bias);
        return;
    }
    float whole[TILE_ROWS * PANEL];
    const size_t size = (size_t)columns * sizeof(float);
    for (int64_t i = 0; begin >= GO_ON && i < m; i++) memcpy(whole + i * PANEL, C + i * c_step, size);
    full_panel(m, vectors, A, a_step, segments, depth, jump, B, b_step, whole, PANEL, begin, bias);
    for (int64_t i = 0; i < m; i++) memcpy(C + i * c_step, whole + i * PANEL, size);
}

/* First of `count` things in part number `part` of `parts`. */
INLINE int64_t first_of(int64_t part, int64_t parts, int64_t count) { return part * count / parts; }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Numbers that are read next: they are asked for, a part at a time, while others are computed with. */
typedef struct {
    const float *numbers;
    int64_t size;
} Next;

#define NOTHING ((Next){0, 0})
#define LINE 16 /* numbers in a line of a cache */

INLINE void ask_for(Next next, int64_t part, int64_t parts) {
    const int64_t lines = next.size / LINE, end = first_of(part + 1, parts, lines);
    for (int64_t line = first_of(part, parts, lines); line < end; line++)
        __builtin_prefetch(next.numbers + line * LINE, 0, 2);
}

INLINE Next weight_of(const Product *of) {
    return (Next){of->packed, (of->rows + PANEL - 1) / PANEL * PANEL * of->columns};
}

/* C [m, rows of the product] = or, with `onto`, += A [m, columns] times its weight, + its bias; shared by the threads of
 * a team. next: what is read after it. Few rows would wait for each other's sums: then several panels are computed at once. */
static void multiply(int64_t m, const float *A, int64_t a_step, const Product *by, float *C, int64_t c_step, int onto,
                     Next next) {
    const int64_t K = by->columns, N = by->rows, step = K * PANEL, panels = (N + PANEL - 1) / PANEL;
    const int64_t side = m == 1 ? 4 : m <= 3 ? 2 : 1, groups = (panels + side - 1) / side;
    const int64_t blocks = (m + TILE_ROWS - 1) / TILE_ROWS;
    const int begin = onto ? by->bias ? BIAS_ONTO : ONTO : by->bias ? BIAS : ZERO;
#pragma omp for collapse(2) schedule(static)
    for (int64_t group = 0; group < groups; group++) {
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t row = first_of(block, blocks, m), count = first_of(block + 1, blocks, m) - row;
            const float *a = A + row * a_step;
            ask_for(next, group * blocks + block, groups * blocks);
            for (int64_t panel = group * side; panel < least((group + 1) * side, panels);) {
                const float *B = by->packed + panel * step, *bias = by->bias ? by->bias + panel * PANEL : 0;
                float *c = C + row * c_step + panel * PANEL;
                if (blocks > 1 && panel + 1 < panels) ask_for((Next){B + step, step}, block, blocks);
                const int64_t columns = N - panel * PANEL, together = columns >= side * PANEL ? side : 1;
                if (together == 4) tile(1, 8, a, a_step, 1, K, 0, B, PANEL, step, c, c_step, begin, bias);
                else if (together == 2 && count == 2)
                    tile(2, 4, a, a_step, 1, K, 0, B, PANEL, step, c, c_step, begin, bias);
                else if (together == 2 && count == 3)
                    tile(3, 4, a, a_step, 1, K, 0, B, PANEL, step, c, c_step, begin, bias);
                else one_panel(count, a, a_step, 1, K, 0, B, PANEL, c, c_step, least(columns, PANEL), begin, bias);
                panel += together;
            }
        }
    }
}

/* Weight [rows, columns] -> panels [rows / PANEL, columns, PANEL], zeros behind the last row. */
static void pack_weight(const float *weight, int64_t rows, int64_t columns, float *packed) {
    for (int64_t panel = 0; panel * PANEL < rows; panel++)
        for (int64_t k = 0; k < columns; k++)
            for (int64_t j = 0; j < PANEL; j++) {
                const int64_t row = panel * PANEL + j;
                *packed++ = row < rows ? weight[row * columns + k] : 0.0f;
            }
}

#endif

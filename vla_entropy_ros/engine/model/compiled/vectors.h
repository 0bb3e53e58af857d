/* Vectors in the compilers' own extension, no intrinsics: LANES float32 numbers, as the flags of a build allow. */
#ifndef VECTORS_H
#define VECTORS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef LANES
#error "LANES and TILE_ROWS are set by the file of a processor family"
#endif
#define PANEL (2 * LANES) /* columns that are computed together */
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef float vec_anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec load(const float *from) { return *(const vec_anywhere *)from; }
INLINE void store(float *to, vec x) { *(vec_anywhere *)to = x; }
INLINE vec all(float x) { return x - (vec){0}; }
INLINE vec choose(ivec mask, vec yes, vec no) { return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask)); }

/* The first `count` numbers, `rest` behind them. */
INLINE vec load_some(const float *from, int64_t count, float rest) {
    float some[LANES];
    for (int lane = 0; lane < LANES; lane++) some[lane] = lane < count ? from[lane] : rest;
    return load(some);
}
INLINE void store_some(float *to, vec x, int64_t count) { memcpy(to, &x, (size_t)count * sizeof(float)); }
INLINE vec load_most(const float *from, int64_t count, float rest) {
    return count >= LANES ? load(from) : load_some(from, count, rest);
}
INLINE void store_most(float *to, vec x, int64_t count) {
    if (count >= LANES) store(to, x);
    else store_some(to, x, count);
}

/* Lanes are added in one order, whatever stands beside them. */
INLINE float sum(vec x) {
    float parts[LANES];
    memcpy(parts, &x, sizeof parts);
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) parts[lane] += parts[lane + half];
    return parts[0];
}
INLINE float highest(vec x) {
    float best = x[0];
    for (int lane = 1; lane < LANES; lane++) best = x[lane] > best ? x[lane] : best;
    return best;
}

/* e^x to 2 units in the last place; 0 below -87, as at 88 above it; no number stays none. */
INLINE vec exponential(vec x) {
    const ivec gone = x < all(-87.0f);
    x = choose(x > all(88.0f), all(88.0f), x);
    const vec shift = all(12582912.0f); /* 1.5 * 2^23: what is added to it is rounded to a whole number */
    const vec whole = (x * all(1.44269504088896f) + shift) - shift;
    const vec r = (x - whole * all(0.693359375f)) - whole * all(-2.12194440e-4f);
    vec p = all(1.9875691500e-4f);
    p = p * r + all(1.3981999507e-3f);
    p = p * r + all(8.3334519073e-3f);
    p = p * r + all(4.1665795894e-2f);
    p = p * r + all(1.6666665459e-1f);
    p = p * r + all(5.0000001201e-1f);
    p = p * (r * r) + (r + all(1.0f));
    const vec kept = choose(gone, (vec){0}, whole);
    const vec power = (vec)((__builtin_convertvector(kept, ivec) + 127) << 23);
    return choose(gone, (vec){0}, p * power);
}

/* x / (1 + e^-x) */
INLINE vec silu(vec x) { return x / (all(1.0f) + exponential(-x)); }

/* x times the normal distribution up to x, whose erf is a quotient of polynomials between -4 and 4: 1 beyond. */
INLINE vec gelu(vec x) {
    vec z = x * all(0.70710678118654752f);
    z = choose(z > all(4.0f), all(4.0f), z);
    z = choose(z < all(-4.0f), all(-4.0f), z);
    const vec s = z * z;
    vec p = all(-2.72614225801306e-10f);
    p = p * s + all(2.77068142495902e-08f);
    p = p * s + all(-2.10102402082508e-06f);
    p = p * s + all(-5.69250639462346e-05f);
    p = p * s + all(-7.34990630326855e-04f);
    p = p * s + all(-2.95459980854025e-03f);
    p = p * s + all(-1.60960333262415e-02f);
    vec q = all(-1.45660718464996e-05f);
    q = q * s + all(-2.13374055278905e-04f);
    q = q * s + all(-1.68282697438203e-03f);
    q = q * s + all(-7.37332916720468e-03f);
    q = q * s + all(-1.42647390514189e-02f);
    const vec half = all(0.5f) * x;
    return half + half * (z * p / q);
}

#endif

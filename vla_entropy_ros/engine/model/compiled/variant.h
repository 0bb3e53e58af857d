/* What each processor family's file exports, its VARIANT behind the name. */
#include <stdint.h>

#ifdef _OPENMP
#include <omp.h>
static inline int64_t thread_number(void) { return omp_get_thread_num(); }
#else
static inline int64_t thread_number(void) { return 0; }
#endif

#include "decoder.h"
#include "tower.h"

#define JOINED(name, variant) name##_##variant
#define NAMED(name, variant) JOINED(name, variant)
#define EXPORT(name) __attribute__((visibility("default"))) NAMED(name, VARIANT)

int64_t EXPORT(panel)(void) { return PANEL; }
int64_t EXPORT(tile_rows)(void) { return TILE_ROWS; }
void EXPORT(pack)(const float *weight, int64_t rows, int64_t columns, float *packed) {
    pack_weight(weight, rows, columns, packed);
}
void EXPORT(decode)(const Decoder *of, const Pass *pass, int threads) { decode(of, pass, threads); }
void EXPORT(look)(const Tower *of, const uint8_t *frame, float *features, int64_t step, int threads) {
    look(of, frame, features, step, threads);
}
void EXPORT(project)(const Projector *of, int64_t rows, const float *features, float *tokens, int threads) {
    project(of, rows, features, tokens, threads);
}

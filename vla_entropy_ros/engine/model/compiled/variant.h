/* What each processor family's file exports, its VARIANT behind the name. */
#include <stdint.h>

#ifdef _OPENMP
#include <omp.h>
static inline int64_t thread_number(void) { return omp_get_thread_num(); }
#else
static inline int64_t thread_number(void) { return 0; }
#endif

#include "decoder.h"
#include "selection.h"
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
void EXPORT(compare_scene)(Scene *of, const uint8_t *frames, int seen, uint8_t *same) {
    compare_scene(of, frames, seen, same);
}
void EXPORT(image_entropy)(const Scene *of, const uint8_t *frames, int64_t count, const int64_t *patches, double *to) {
    image_entropy(of, frames, count, patches, to);
}
void EXPORT(relight)(int64_t count, const float *x, const float *y, double *work, double *to) {
    const Step step = relight(count, x, y, work);
    to[0] = step.gain;
    to[1] = step.offset;
}
void EXPORT(drift)(int64_t rows, int64_t width, const float *now, const float *stored, float *to) {
    drift(rows, width, now, stored, to);
}
void EXPORT(keep_rows)(int64_t rows, int64_t width, const uint8_t *fresh, const float *from, float *to) {
    keep_rows(rows, width, fresh, from, to);
}
void EXPORT(select_tokens)(const Scene *scene, const uint8_t *frames, const Selecting *of) {
    select_tokens(scene, frames, of);
}

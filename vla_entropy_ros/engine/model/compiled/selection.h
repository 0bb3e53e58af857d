/* Which visual tokens a tick computes, by visual and attention information: the rules of reuse/joint.py. */
#ifndef SELECTION_H
#define SELECTION_H

#include "scene.h"

#define AGEING 0.01

/* Marks the `count` highest scores of those tokens [tokens] that are not marked: ties go to the lower index, what is
 * no number comes last. work [tokens]. */
static void mark_highest(int64_t tokens, const double *score, int64_t count, uint8_t *marked, double *work) {
    int64_t others = 0, above = 0;
    for (int64_t n = 0; n < tokens; n++)
        if (!marked[n]) work[others++] = isnan(score[n]) ? INFINITY : -score[n];
    if (count > others) count = others;
    if (count <= 0) return;
    const double last = ranked(work, others, count - 1);
    for (int64_t n = 0; n < others; n++) above += work[n] < last;
    int64_t ties = count - above;
    for (int64_t n = 0; n < tokens; n++) {
        if (marked[n]) continue;
        const double key = isnan(score[n]) ? INFINITY : -score[n];
        marked[n] = key < last || (key == last && ties-- > 0);
    }
}

static int64_t marked_of(int64_t tokens, const uint8_t *mask) {
    int64_t count = 0;
    for (int64_t n = 0; n < tokens; n++) count += mask[n];
    return count;
}

/* Visual information: the change, weighted by the image entropy of what may come to be among the k_vis highest. */
static void visual_information(const Scene *scene, const uint8_t *frames, const Selecting *of) {
    int64_t near = 0;
    for (int64_t n = 0; n < of->tokens; n++) of->visual[n] = 0.5 * of->change[n], of->work[n] = -of->change[n];
    if (of->k_vis <= 0) return;
    const double most = -ranked(of->work, of->tokens, (of->k_vis < of->tokens ? of->k_vis : of->tokens) - 1);
    for (int64_t n = 0; n < of->tokens; n++)
        if (2 * of->change[n] >= most) of->near[near++] = n;
    image_entropy(scene, frames, near, of->near, of->work);
    for (int64_t n = 0; n < near; n++) of->visual[of->near[n]] *= 1.0 + of->work[n];
}

/* How much each stale token matters, by how far it has changed. */
static void urgency(const Selecting *of) {
    for (int64_t n = 0; n < of->tokens; n++)
        of->urgency[n] = of->attention[n] * (AGEING * (double)(of->age[n] + 1) + sqrt(of->change[n]));
}

/* Fills `mask` up to `budget` tokens. */
static void fill_up(const Selecting *of, const double *score, int64_t budget, uint8_t *mask) {
    mark_highest(of->tokens, score, budget - marked_of(of->tokens, mask), mask, of->work);
}

static void select_tokens(const Scene *scene, const uint8_t *frames, const Selecting *of) {
    drift(of->tokens, of->width, of->now, of->stored, of->drift);
    for (int64_t n = 0; n < of->tokens; n++) of->change[n] = isnan(of->drift[n]) ? INFINITY : of->drift[n];
    visual_information(scene, frames, of);
    memset(of->by_visual, 0, (size_t)of->tokens);
    mark_highest(of->tokens, of->visual, of->k_vis, of->by_visual, of->work);
    for (int64_t n = 0; n < of->tokens; n++) of->fresh[n] = of->by_visual[n] | of->by_attention[n] | of->old[n];
    urgency(of);
    fill_up(of, of->urgency, of->budget, of->fresh);
    if (!of->taper) return;
    drift(of->tokens, of->width, of->now, of->deep_stored, of->drift);
    for (int64_t n = 0; n < of->tokens; n++) of->change[n] = of->drift[n];
    urgency(of);
    for (int64_t n = 0; n < of->tokens; n++) of->urgency[n] = of->fresh[n] ? of->urgency[n] : -1.0;
    memcpy(of->deep, of->old, (size_t)of->tokens);
    fill_up(of, of->urgency, of->taper, of->deep);
    for (int64_t n = 0; n < of->tokens; n++) of->deep[n] &= of->fresh[n];
}

#endif

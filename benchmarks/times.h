/* Times for the load: the clock, how long things took, and what is due at a pace. */

#include <stdint.h>
#include <time.h>

#define BUCKET_NS 10000 /* times are told to ten microseconds */
#define BUCKETS 1000000 /* up to ten seconds */

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

struct times {
    uint32_t buckets[BUCKETS];
    uint64_t count, max;
};

static void add_time(struct times *times, uint64_t spent) {
    uint64_t bucket = spent / BUCKET_NS;
    times->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    times->count++;
    if (spent > times->max)
        times->max = spent;
}

static double percentile_ms(const struct times *times, double part) {
    uint64_t wanted = (uint64_t)(part * (double)times->count), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += times->buckets[i]) > wanted)
            return (i + 0.5) * BUCKET_NS / 1e6;
    return 0;
}

/* What is done at a pace: a share of `count` is due at each moment. */
struct pace {
    uint64_t began, done, count;
    double per_second;
};

/* Return how much is due by now, and take it as done. */
static uint64_t due(struct pace *pace) {
    if (pace->done >= pace->count)
        return 0;
    double spent = (double)(now() - pace->began) / 1e9;
    uint64_t wanted = (uint64_t)(spent * pace->per_second) + 1;
    if (wanted > pace->count)
        wanted = pace->count;
    uint64_t more = wanted > pace->done ? wanted - pace->done : 0;
    pace->done += more;
    return more;
}

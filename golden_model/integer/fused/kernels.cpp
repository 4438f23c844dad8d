// The fused kernels of the golden model: each is one named step of docs/numerics.md on compact integers.
//
// The definition is the plain form (golden_model/integer/ops, golden_model/integer/model.py); tests compare every
// bit over extremes and random geometry. No floating-point number occurs here.
//
// Products are formed on 16-bit operands and summed in 32 bits: exact on every processor, where 8-bit
// multiply-add instructions without VNNI saturate pairs of products at 16 bits. A weight is packed once, in
// panels of 16 output channels, pairs of inputs side by side:
//
//     packed[panel][input / 2][channel of the panel][input % 2]
//
// so that one multiply-add instruction serves 8 (AVX2) or 16 (AVX-512) channels. What a requantisation shifts
// is made positive first (BIAS): AVX2 has no arithmetic 64-bit shift. Rows are independent: callers split
// them over threads.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

constexpr int PANEL = 16;
constexpr int ROWS = 6;  // of a tile: 12 sums, 2 weights and 1 input in 16 registers of AVX2
constexpr int TILE_ROWS = 96;  // whose inputs stay in the second-level cache while weights stream by
constexpr int BIAS_BITS = 48;  // above every product of a requantisation: 29 bits times 16
constexpr int64_t BIAS = int64_t(1) << BIAS_BITS;
constexpr int MOST_SHIFT = 47;  // from here on a product below 2^45, rounded half up, has become 0

int64_t pairs(int64_t inputs) { return (inputs + 1) / 2; }

int64_t panels(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }

// sums[r][c] = sum over k of rows[r][k] * panel[k][c]; `stride` in int16 between rows, even count of k.
#if defined(__AVX512BW__)
template <int N>
void tile(const int16_t* rows, int64_t stride, const int16_t* panel, int64_t count, int32_t sums[][PANEL]) {
    __m512i sum[N];
    for (int r = 0; r < N; ++r) sum[r] = _mm512_setzero_si512();
    for (int64_t k = 0; k < count; ++k) {
        const __m512i weight = _mm512_loadu_si512(panel + k * 2 * PANEL);
        for (int r = 0; r < N; ++r) {
            int32_t pair;
            std::memcpy(&pair, rows + r * stride + 2 * k, sizeof pair);
#if defined(__AVX512VNNI__)
            sum[r] = _mm512_dpwssd_epi32(sum[r], _mm512_set1_epi32(pair), weight);
#else
            sum[r] = _mm512_add_epi32(sum[r], _mm512_madd_epi16(_mm512_set1_epi32(pair), weight));
#endif
        }
    }
    for (int r = 0; r < N; ++r) _mm512_storeu_si512(sums[r], sum[r]);
}
#elif defined(__AVX2__)
// Sums by name and added in place: in an array, or with all products formed first, compilers keep them in memory.
#define FOR_ROWS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define CLEAR(r) __m256i low##r = _mm256_setzero_si256(), high##r = low##r;
#define ADD(r)                                                                     \
    if constexpr (N > r) {                                                         \
        int32_t pair;                                                              \
        std::memcpy(&pair, rows + r * stride + 2 * k, sizeof pair);                \
        const __m256i both = _mm256_set1_epi32(pair);                              \
        asm("vpaddd %1, %0, %0" : "+x"(low##r) : "x"(_mm256_madd_epi16(both, first)));   \
        asm("vpaddd %1, %0, %0" : "+x"(high##r) : "x"(_mm256_madd_epi16(both, second))); \
    }
#define KEEP(r)                                                                    \
    if constexpr (N > r) {                                                         \
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums[r]), low##r);          \
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums[r] + 8), high##r);     \
    }
template <int N>
void tile(const int16_t* rows, int64_t stride, const int16_t* panel, int64_t count, int32_t sums[][PANEL]) {
    FOR_ROWS(CLEAR)
    for (int64_t k = 0; k < count; ++k) {
        const auto* weights = reinterpret_cast<const __m256i*>(panel + k * 2 * PANEL);
        const __m256i first = _mm256_loadu_si256(weights), second = _mm256_loadu_si256(weights + 1);
        FOR_ROWS(ADD)
    }
    FOR_ROWS(KEEP)
}
#else
template <int N>
void tile(const int16_t* rows, int64_t stride, const int16_t* panel, int64_t count, int32_t sums[][PANEL]) {
    for (int r = 0; r < N; ++r) {
        for (int c = 0; c < PANEL; ++c) sums[r][c] = 0;
        for (int64_t k = 0; k < count; ++k) {
            const int32_t first = rows[r * stride + 2 * k], second = rows[r * stride + 2 * k + 1];
            for (int c = 0; c < PANEL; ++c)
                sums[r][c] += first * panel[(k * PANEL + c) * 2] + second * panel[(k * PANEL + c) * 2 + 1];
        }
    }
}
#endif

void any_tile(int count, const int16_t* rows, int64_t stride, const int16_t* panel, int64_t k, int32_t sums[][PANEL]) {
    switch (count) {
        case 1: return tile<1>(rows, stride, panel, k, sums);
        case 2: return tile<2>(rows, stride, panel, k, sums);
        case 3: return tile<3>(rows, stride, panel, k, sums);
        case 4: return tile<4>(rows, stride, panel, k, sums);
        case 5: return tile<5>(rows, stride, panel, k, sums);
        default: return tile<ROWS>(rows, stride, panel, k, sums);
    }
}

// What a panel's channels are requantised with.
struct Rescale {
    int32_t offset[PANEL], multiplier[PANEL];
    int64_t half[PANEL];  // and BIAS
    int64_t shift[PANEL], back[PANEL];

    void set(int channel, int32_t o, int32_t m, int32_t s) {
        s = std::min(s, MOST_SHIFT);
        offset[channel] = o;
        multiplier[channel] = m;
        half[channel] = BIAS + (s > 0 ? int64_t(1) << (s - 1) : 0);
        shift[channel] = s;
        back[channel] = BIAS >> s;
    }
    void set_all(int32_t o, int32_t m, int32_t s) {
        for (int c = 0; c < PANEL; ++c) set(c, o, m, s);
    }
    // saturate(round_half_up((sum + offset) * multiplier / 2^shift))
    void apply(const int32_t* sums, int32_t low, int32_t high, int32_t* out) const {
        for (int c = 0; c < PANEL; ++c) {
            const int64_t product = int64_t(sums[c] + offset[c]) * multiplier[c];
            const int64_t rounded = int64_t(uint64_t(product + half[c]) >> shift[c]) - back[c];
            const int64_t capped = rounded < high ? rounded : high;
            out[c] = int32_t(capped > low ? capped : low);
        }
    }
};

int bit_length(uint64_t value) { return value ? 64 - __builtin_clzll(value) : 0; }

}  // namespace

// What becomes of a requantised row of a matmul.
struct Output {
    int32_t low, high;          // saturation of the requantised value
    const int8_t* table;        // of an activation, or null
    int32_t table_mask;         // its entries less one
    const int16_t* residual;    // hidden state [rows, outputs] that is added, or null
    int32_t residual_high;      // the sum's largest value; the least is one below minus this
    int32_t bytes;              // of a value of `values`: 1, 2 or 4, signed
    void* values;               // [rows, outputs]
};

struct Channels {
    const int32_t *offset, *multiplier, *shift;  // [outputs]
};

namespace {

void store(const Output& to, int64_t row, int64_t outputs, int64_t first, int count, const int32_t* found) {
    const int64_t at = row * outputs + first;
    int32_t summed[PANEL];
    if (to.residual) {
        for (int c = 0; c < count; ++c) {
            const int32_t sum = found[c] + to.residual[at + c];
            summed[c] = std::min(std::max(sum, -to.residual_high - 1), to.residual_high);
        }
        found = summed;
    }
    if (to.table) {
        auto* values = static_cast<int8_t*>(to.values) + at;
        for (int c = 0; c < count; ++c) values[c] = to.table[found[c] & to.table_mask];
    } else if (to.bytes == 1) {
        auto* values = static_cast<int8_t*>(to.values) + at;
        for (int c = 0; c < count; ++c) values[c] = int8_t(found[c]);
    } else if (to.bytes == 2) {
        auto* values = static_cast<int16_t*>(to.values) + at;
        for (int c = 0; c < count; ++c) values[c] = int16_t(found[c]);
    } else {
        auto* values = static_cast<int32_t*>(to.values) + at;
        for (int c = 0; c < count; ++c) values[c] = found[c];
    }
}

void load_channels(const Channels& from, int64_t first, int count, Rescale& to) {
    to.set_all(0, 0, 0);
    for (int c = 0; c < count; ++c) to.set(c, from.offset[first + c], from.multiplier[first + c], from.shift[first + c]);
}

}  // namespace

extern "C" {

int64_t elbert_packed_size(int64_t outputs, int64_t inputs) { return panels(outputs) * pairs(inputs) * 2 * PANEL; }

// weight int8 [outputs, inputs] -> packed int16 [elbert_packed_size]
void elbert_pack(const int8_t* weight, int64_t outputs, int64_t inputs, int16_t* packed) {
    std::memset(packed, 0, sizeof(int16_t) * elbert_packed_size(outputs, inputs));
    for (int64_t o = 0; o < outputs; ++o)
        for (int64_t k = 0; k < inputs; ++k)
            packed[(((o / PANEL) * pairs(inputs) + k / 2) * PANEL + o % PANEL) * 2 + k % 2] = weight[o * inputs + k];
}

// The operand of a matmul: saturate(round_half_up(hidden / 2^shift)), int16 hidden to int8.
void elbert_operand(const int16_t* hidden, int64_t count, int32_t shift, int32_t limit, int8_t* operand) {
    const int32_t half = shift > 0 ? 1 << (shift - 1) : 0;
    for (int64_t i = 0; i < count; ++i) {
        const int32_t value = (int32_t(hidden[i]) + half) >> shift;
        operand[i] = int8_t(std::min(std::max(value, -limit), limit));
    }
}

// x int8 [rows, inputs] times a packed weight, requantised into `to`.
void elbert_linear(const int8_t* x, int64_t rows, int64_t inputs, int64_t outputs, const int16_t* packed,
                   const Channels& channels, const Output& to) {
    const int64_t k = pairs(inputs), stride = 2 * k;
    std::vector<int16_t> wide(std::min<int64_t>(rows, TILE_ROWS) * stride);
    for (int64_t start = 0; start < rows; start += TILE_ROWS) {
        const int64_t height = std::min<int64_t>(TILE_ROWS, rows - start);
        for (int64_t r = 0; r < height; ++r) {
            const int8_t* from = x + (start + r) * inputs;
            int16_t* into = wide.data() + r * stride;
            for (int64_t i = 0; i < inputs; ++i) into[i] = from[i];
            if (inputs % 2) into[inputs] = 0;
        }
        for (int64_t panel = 0; panel < panels(outputs); ++panel) {
            const int64_t first = panel * PANEL;
            const int count = int(std::min<int64_t>(PANEL, outputs - first));
            Rescale rescale;
            load_channels(channels, first, count, rescale);
            for (int64_t r = 0; r < height; r += ROWS) {
                const int n = int(std::min<int64_t>(ROWS, height - r));
                int32_t sums[ROWS][PANEL], found[PANEL];
                any_tile(n, wide.data() + r * stride, stride, packed + panel * k * 2 * PANEL, k, sums);
                for (int i = 0; i < n; ++i) {
                    rescale.apply(sums[i], to.low, to.high, found);
                    store(to, start + r + i, outputs, first, count, found);
                }
            }
        }
    }
}

// The same from accumulators int32 [rows, outputs] that another product made.
void elbert_requantize(const int32_t* accumulators, int64_t rows, int64_t outputs, const Channels& channels, const Output& to) {
    for (int64_t panel = 0; panel < panels(outputs); ++panel) {
        const int64_t first = panel * PANEL;
        const int count = int(std::min<int64_t>(PANEL, outputs - first));
        Rescale rescale;
        load_channels(channels, first, count, rescale);
        for (int64_t r = 0; r < rows; ++r) {
            int32_t sums[PANEL] = {}, found[PANEL];
            std::memcpy(sums, accumulators + r * outputs + first, sizeof(int32_t) * count);
            rescale.apply(sums, to.low, to.high, found);
            store(to, r, outputs, first, count, found);
        }
    }
}

// LayerNorm of y int32 [rows, n], saturated to +-limit, into int8 (bytes 1) or int16 (bytes 2) [rows, n].
struct Norm {
    const int32_t *gamma, *beta, *shift;  // [n]
    int32_t limit, fraction_bits, norm_high, root_bits;
};

void elbert_layernorm(const int32_t* y, int64_t rows, int64_t n, const Norm& norm, int32_t bytes, void* out) {
    constexpr int64_t bias = BIAS;  // above a deviation of 30 bits shifted by up to 14, and every other value
    constexpr int32_t most_shift = 40;  // |normalised * gamma + beta| < 2^37
    std::vector<int64_t> add(n), shift(n), back(n);
    for (int64_t i = 0; i < n; ++i) {
        const int32_t s = std::min(norm.shift[i], most_shift);
        add[i] = norm.beta[i] + bias + (s > 0 ? int64_t(1) << (s - 1) : 0);
        shift[i] = s;
        back[i] = bias >> s;
    }
    for (int64_t r = 0; r < rows; ++r) {
        const int32_t* row = y + r * n;
        int64_t sum = 0, squares = 0;
        for (int64_t i = 0; i < n; ++i) {
            sum += row[i];
            squares += int64_t(row[i]) * row[i];
        }
        const int64_t variance = std::max<int64_t>(n * squares - sum * sum, 1);
        const int32_t exponent = (bit_length(uint64_t(variance)) - 1) >> 1;
        const int32_t down = 2 * exponent - (norm.root_bits - 2);
        const uint64_t mantissa = down >= 0 ? uint64_t(variance) >> down : uint64_t(variance) << -down;
        uint64_t root = 0;
        for (int bit = norm.root_bits - 1; bit >= 0; --bit) {
            const uint64_t candidate = root | (uint64_t(1) << bit);
            if (candidate * candidate * mantissa <= (uint64_t(1) << (3 * norm.root_bits - 2))) root = candidate;
        }
        const int64_t half = bias + (exponent > 0 ? int64_t(1) << (exponent - 1) : 0), lower = bias >> exponent;
        const int64_t root_half = bias + (int64_t(1) << (norm.root_bits - 1)), root_lower = bias >> norm.root_bits;
        const int32_t high = norm.norm_high, limit = norm.limit, factor = int32_t(root), total = int32_t(sum);
        const int32_t width = int32_t(n), scale = 1 << norm.fraction_bits;
        const auto value = [&](int64_t i) {
            const int64_t deviation = int64_t(width * row[i] - total) * scale;
            const int64_t t = int64_t(uint64_t(deviation + half) >> exponent) - lower;
            const int64_t capped = t < high ? t : high;
            const int32_t scaled = int32_t(capped > -high - 1 ? capped : -high - 1);
            const int64_t product = int64_t(scaled) * factor;
            const int32_t normal = int32_t(int64_t(uint64_t(product + root_half) >> norm.root_bits) - root_lower);
            const int64_t made = int64_t(uint64_t(int64_t(normal) * norm.gamma[i] + add[i]) >> shift[i]) - back[i];
            const int64_t less = made < limit ? made : limit;
            return int32_t(less > -limit ? less : -limit);
        };
        if (bytes == 1) {
            auto* values = static_cast<int8_t*>(out) + r * n;
            for (int64_t i = 0; i < n; ++i) values[i] = int8_t(value(i));
        } else {
            auto* values = static_cast<int16_t*>(out) + r * n;
            for (int64_t i = 0; i < n; ++i) values[i] = int16_t(value(i));
        }
    }
}

// Attention of sentences first..last-1; sentence b has query rows query_start[b]..query_start[b + 1] and
// key and value rows key_start[b]..key_start[b + 1] of packed [rows, heads * dim].
struct Attention {
    int64_t heads, dim;
    const int64_t *query_start, *key_start;
    const int8_t *query, *key, *value;
    int32_t score_multiplier, score_shift, score_high;
    const uint8_t* exponential;  // by distance from the row's largest score
    int32_t exponential_shift, exponential_last;  // index = min(distance >> shift, last)
    int32_t context_multiplier, context_shift, context_limit;
    int8_t* context;          // like query
    int64_t longest_query, longest_key;
    int16_t* scores;          // [sentences, heads, longest_query, longest_key] or null; unused keys the least score
    uint8_t* exponentials;    // the same; unused keys 0
};

void elbert_attention(const Attention& a, int64_t first, int64_t last) {
    const int64_t width = a.heads * a.dim, dim_pairs = pairs(a.dim);
    std::vector<int16_t> keys, values, queries(ROWS * 2 * dim_pairs), weights;
    std::vector<int32_t> scores;
    Rescale scale;
    scale.set_all(0, a.score_multiplier, a.score_shift);
    for (int64_t b = first; b < last; ++b) {
        const int64_t key_row = a.key_start[b], length = a.key_start[b + 1] - key_row;
        const int64_t query_row = a.query_start[b], asked = a.query_start[b + 1] - query_row;
        if (!asked) continue;
        const int64_t key_panels = panels(length), key_pairs = pairs(length), padded = key_panels * PANEL;
        keys.assign(key_panels * dim_pairs * 2 * PANEL, 0);
        values.assign(panels(a.dim) * key_pairs * 2 * PANEL, 0);
        scores.resize(ROWS * padded);
        weights.assign(ROWS * 2 * key_pairs, 0);
        for (int64_t h = 0; h < a.heads; ++h) {
            for (int64_t t = 0; t < length; ++t) {
                const int8_t* key = a.key + (key_row + t) * width + h * a.dim;
                const int8_t* value = a.value + (key_row + t) * width + h * a.dim;
                for (int64_t d = 0; d < a.dim; ++d) {
                    keys[(((t / PANEL) * dim_pairs + d / 2) * PANEL + t % PANEL) * 2 + d % 2] = key[d];
                    values[(((d / PANEL) * key_pairs + t / 2) * PANEL + d % PANEL) * 2 + t % 2] = value[d];
                }
            }
            for (int64_t q = 0; q < asked; q += ROWS) {
                const int n = int(std::min<int64_t>(ROWS, asked - q));
                for (int r = 0; r < n; ++r)
                    for (int64_t d = 0; d < a.dim; ++d)
                        queries[r * 2 * dim_pairs + d] = a.query[(query_row + q + r) * width + h * a.dim + d];
                int32_t sums[ROWS][PANEL], found[PANEL];
                for (int64_t panel = 0; panel < key_panels; ++panel) {
                    any_tile(n, queries.data(), 2 * dim_pairs, keys.data() + panel * dim_pairs * 2 * PANEL, dim_pairs, sums);
                    for (int r = 0; r < n; ++r)
                        scale.apply(sums[r], -a.score_high - 1, a.score_high, scores.data() + r * padded + panel * PANEL);
                }
                Rescale row[ROWS];
                for (int r = 0; r < n; ++r) {
                    const int32_t* score = scores.data() + r * padded;
                    int16_t* weight = weights.data() + r * 2 * key_pairs;
                    int32_t largest = score[0];
                    for (int64_t t = 1; t < length; ++t) largest = std::max(largest, score[t]);
                    int64_t sum = 0;
                    for (int64_t t = 0; t < length; ++t) {
                        const int32_t index = std::min((largest - score[t]) >> a.exponential_shift, a.exponential_last);
                        weight[t] = a.exponential[index];
                        sum += weight[t];
                    }
                    if (a.scores) {
                        const int64_t at = ((b * a.heads + h) * a.longest_query + q + r) * a.longest_key;
                        for (int64_t t = 0; t < length; ++t) {
                            a.scores[at + t] = int16_t(score[t]);
                            a.exponentials[at + t] = uint8_t(weight[t]);
                        }
                    }
                    const int bits = bit_length(uint64_t(sum));
                    row[r].set_all(0, int32_t((int64_t(a.context_multiplier) << (bits - 1)) / sum), a.context_shift + bits - 1);
                }
                for (int64_t panel = 0; panel < panels(a.dim); ++panel) {
                    const int64_t from = panel * PANEL;
                    const int count = int(std::min<int64_t>(PANEL, a.dim - from));
                    any_tile(n, weights.data(), 2 * key_pairs, values.data() + panel * key_pairs * 2 * PANEL, key_pairs, sums);
                    for (int r = 0; r < n; ++r) {
                        row[r].apply(sums[r], -a.context_limit, a.context_limit, found);
                        int8_t* context = a.context + (query_row + q + r) * width + h * a.dim + from;
                        for (int c = 0; c < count; ++c) context[c] = int8_t(found[c]);
                    }
                }
            }
        }
    }
}

}  // extern "C"

#pragma once

#include "ops/cuda/common/rounding.cuh"
#include "ops/cuda/deform_conv/multiply.cuh"
#include "ops/cuda/deform_conv/samples.cuh"
#include "ops/cuda/deform_conv/weights.cuh"

namespace retinaface {

/// Ends a step: what the block has copied and stored can be multiplied, and what it has multiplied can be overwritten.
template <typename Sums, typename Copies>
__device__ void finish_step(Sums &sums, Copies &copies) {
    sums.finish_step();
    copies.wait();
    __syncthreads();
}

/// Stores consecutive output channels of one pixel, from `channel` within the group.
template <int kRun, typename T>
__device__ void store_run(const DeformConvArgs<T> &args, const DeformTile &tile, int group, int pixel, int channel,
                          const float (&sums)[kRun]) {
    constexpr int kVector = kRun < 8 ? kRun : 8;
    struct alignas(kVector * sizeof(T)) Vector {
        T values[kVector];
    };
    const int group_outputs = args.params.out_channels / args.params.groups;
    const int index = tile.output_pixel(pixel);
    if (index < 0 || channel >= group_outputs) {
        return;
    }
    T *image = args.y + tile.image * args.plan.y_image + index * args.plan.y_pixel;
#pragma unroll
    for (int first = 0; first < kRun; first += kVector) {
        const int co = group * group_outputs + channel + first;
        const int count = min(kVector, group_outputs - channel - first);
        Vector vector;
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
            const float bias = args.bias == nullptr || i >= count ? 0.0f : to_float(args.bias[co + i]);
            vector.values[i] = from_float<T>(sums[first + i] + bias);
        }
        if (args.params.layout == Layout::kHwc8 && count == kVector && co % kVector == 0) {
            *reinterpret_cast<Vector *>(image + co) = vector;
        } else {
#pragma unroll
            for (int i = 0; i < kVector; ++i) {
                if (i < count) {
                    image[(co + i) * args.plan.y_channel] = vector.values[i];
                }
            }
        }
        if (args.params.layout == Layout::kHwc8 && count > 0 && co + count == args.params.out_channels) {
            for (int64_t c = args.params.out_channels; c < args.plan.y_pixel; ++c) {
                image[c] = from_float<T>(0.0f);
            }
        }
    }
}

/// Adds up the partial sums of the blocks that share a tile. Returns true in the last of them, which then has all sums.
/// They are added in the order of the splits, so that every run gives the same bits.
template <typename Sums>
__device__ bool combine(const DeformConvWorkspace &workspace, int splits, int64_t tile, int split, Sums &sums) {
    float4 *partials = workspace.partials + tile * splits * Sums::kVectors * kDeformThreads + thread_index();
    const auto at = [&](int of, int v) { return partials + (of * Sums::kVectors + v) * kDeformThreads; };
#pragma unroll
    for (int v = 0; v < Sums::kVectors; ++v) {
        const auto &vector = sums.vectors[v];
        *at(split, v) = make_float4(vector[0], vector[1], vector[2], vector[3]);
    }
    __threadfence();
    __syncthreads();
    bool is_last = false;
    if (thread_index() == 0) {
        is_last = atomicAdd(&workspace.tickets[tile], 1u) == static_cast<uint32_t>(splits - 1);
        __threadfence();
    }
    if (!__syncthreads_or(is_last)) {
        return false;
    }
    sums = {};
    for (int of = 0; of < splits; ++of) {
#pragma unroll
        for (int v = 0; v < Sums::kVectors; ++v) {
            const float4 part = __ldcg(at(of, v));
            sums.vectors[v][0] += part.x;
            sums.vectors[v][1] += part.y;
            sums.vectors[v][2] += part.z;
            sums.vectors[v][3] += part.w;
        }
    }
    return true;
}

/// Deformable convolution of one tile of output pixels and kCoTile output channels, or of a part of the steps of it:
/// block x = (image, tile) * splits + split, block y = (group, tile of channels).
///
/// A software pipeline with two buffers: while the tensor cores multiply one step, the weights of the next are copied,
/// its samples mixed and stored, and those of the step after it loaded. A thread takes one unit of one pixel; eight
/// neighbouring threads read a pixel's 128 bytes.
template <typename T, int kCoTile>
__global__ void __launch_bounds__(kDeformThreads) deform_conv_kernel(const __grid_constant__ DeformConvArgs<T> args) {
    static_assert(kDeformThreads == kDeformTilePixels * kDeformRowUnits);
    constexpr uint32_t kWeightBytes = weight_tile_bytes(kCoTile);
    constexpr uint32_t kSampleBytes = kDeformTilePixels * kDeformRowBytes;
    extern __shared__ __align__(1024) unsigned char shared[];
    const uint32_t weights = shared_address(shared);
    const uint32_t samples = weights + 2 * kWeightBytes;
    SamplePlaces places;
    places.weights = reinterpret_cast<float4 *>(shared + 2 * (kWeightBytes + kSampleBytes));
    places.units = reinterpret_cast<uint32_t *>(places.weights + args.plan.taps_per_pass * kDeformTilePixels);

    const DeformConvPlan &plan = args.plan;
    const int tile_index = static_cast<int>(blockIdx.x) / plan.splits;
    const int split = static_cast<int>(blockIdx.x) % plan.splits;
    const int group = static_cast<int>(blockIdx.y) / plan.co_tiles;
    const int first_co = static_cast<int>(blockIdx.y) % plan.co_tiles * kCoTile;
    const DeformTile tile(plan, tile_index);
    const int begin = static_cast<int>(int64_t{plan.steps} * split / plan.splits);
    const int end = static_cast<int>(int64_t{plan.steps} * (split + 1) / plan.splits);

    const int row = thread_index() / kDeformRowUnits;
    const int unit = thread_index() % kDeformRowUnits;
    // The same kDeformTilePixels further on, as that is a multiple of 8.
    const uint32_t own_place = swizzled(row, unit);
    const uint4 *const image =
        (plan.copies_x ? reinterpret_cast<const uint4 *>(args.workspace.x) : reinterpret_cast<const uint4 *>(args.x)) +
        tile.image * plan.x_units + unit;
    const uint32_t step_units = plan.weight_rows * kDeformRowUnits;
    const uint32_t group_weights = group * plan.steps * step_units + (first_co + row) * kDeformRowUnits + unit;

    DeformSums<T, kCoTile> sums;
    // Its barrier is behind the places. That it is made is known to all threads after the barrier in the first span.
    WeightCopies<decltype(sums)> copies(shared_address(places.units + plan.taps_per_pass * kDeformTilePixels));
    const int steps_of_piece = plan.chunks * plan.taps;
    for (int piece = begin / steps_of_piece; piece * steps_of_piece < end; ++piece) {
        const int piece_index = group * plan.pieces + piece;
        const int offset_group = static_cast<int>(int64_t{piece_index} * plan.piece_channels /
                                                  (args.params.in_channels / args.params.offset_groups));
        for (int first_tap = 0; first_tap < plan.taps; first_tap += plan.taps_per_pass) {
            const DeformConvSpan span = span_of(plan, piece, first_tap);
            const int first = max(begin, span.first_step);
            const int last = min(end, span.first_step + span.steps);
            if (first >= last) {
                continue;
            }
            // Nothing reads the old places any more: a span ends with a barrier.
            locate_samples(args, tile, offset_group, span, places);
            __syncthreads();

            // The step that is loaded next: its tap, its unit of the first pixel, and the units that its piece still
            // has.
            int tap = (first - span.first_step) % span.taps;
            const int chunk = (first - span.first_step) / span.taps;
            const uint4 *x = image + int64_t{piece_index} * plan.piece_units + chunk * kDeformRowUnits;
            int units = plan.piece_units - chunk * kDeformRowUnits;
            uint32_t next_weights = group_weights + first * step_units;
            SampleUnit<T> in_flight;
            auto copy_weights = [&](uint32_t buffer, [[maybe_unused]] int step) {
                if constexpr (decltype(sums)::kAsynchronous) {
                    copies.start(weights + buffer * kWeightBytes, args.weight_map,
                                 weight_row(plan, group, step, first_co), kWeightBytes);
                } else {
                    const unsigned char *from = args.workspace.weights + int64_t{next_weights} * kDeformUnitBytes;
#pragma unroll
                    for (int i = 0; i < kCoTile / kDeformTilePixels; ++i) {
                        copies.start(weights + buffer * kWeightBytes + own_place + i * kSampleBytes,
                                     from + i * kSampleBytes);
                    }
                }
                next_weights += step_units;
            };
            auto load = [&] {
                in_flight.load(plan, unit < units ? x : nullptr, places, tap * kDeformTilePixels + row);
                if (++tap == span.taps) {
                    tap = 0;
                    x += kDeformRowUnits;
                    units -= kDeformRowUnits;
                }
            };
            auto store = [&](uint32_t buffer) {
                const uint32_t target = samples + buffer * kSampleBytes + own_place;
                *static_cast<uint4 *>(__cvta_shared_to_generic(target)) = in_flight.mixed();
            };

            copy_weights(0, first);
            load();
            store(0);
            if (first + 1 < last) {
                load();
            }
            finish_step(sums, copies);
#pragma unroll 1
            for (int step = first; step < last; ++step) {
                const uint32_t buffer = (step - first) % 2;
                const uint32_t step_samples = samples + buffer * kSampleBytes;
                const uint32_t step_weights = weights + buffer * kWeightBytes;
                if constexpr (decltype(sums)::kAsynchronous) {
                    sums.start(step_samples, step_weights);
                }
                if (step + 1 < last) {
                    copy_weights(1 - buffer, step + 1);
                    store(1 - buffer);
                }
                if (step + 2 < last) {
                    load();
                }
                if constexpr (!decltype(sums)::kAsynchronous) {
                    constexpr int kAtOnce = decltype(sums)::kPartsAtOnce;
#pragma unroll kAtOnce
                    for (int k = 0; k < kDeformRowUnits / 2; ++k) {
                        sums.multiply(step_samples, step_weights, k);
                    }
                }
                finish_step(sums, copies);
            }
        }
    }

    const int64_t tile_of_all = int64_t{tile_index} * gridDim.y + blockIdx.y;
    if (plan.splits == 1 || combine(args.workspace, plan.splits, tile_of_all, split, sums)) {
        sums.for_each_run([&](int pixel, int channel, const auto &run) {
            store_run(args, tile, group, pixel, first_co + channel, run);
        });
    }
}

}  // namespace retinaface

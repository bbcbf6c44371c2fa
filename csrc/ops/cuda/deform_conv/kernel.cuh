#pragma once

#include "ops/cuda/common/rounding.cuh"
#include "ops/cuda/deform_conv/samples.cuh"

namespace retinaface {

/// Blocks that fit into a multiprocessor's shared memory: two on data-centre GPUs from sm_90. Elsewhere one, which may
/// use all registers.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 900 || __CUDA_ARCH__ == 1000 || __CUDA_ARCH__ == 1030)
constexpr int kDeformResidentBlocks = 2;
#else
constexpr int kDeformResidentBlocks = 1;
#endif

inline __device__ void copy_unit(unsigned char *target, const unsigned char *source, bool exists) {
#if __CUDA_ARCH__ >= 800
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(target));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(source), "r"(exists ? 16 : 0)
                 : "memory");
#else
    *reinterpret_cast<uint4 *>(target) = exists ? *reinterpret_cast<const uint4 *>(source) : uint4{};
#endif
}

inline __device__ void finish_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
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
/// A software pipeline with two buffers: while the tensor cores multiply one step, the weights of the next are copied
/// and its samples loaded, mixed and stored. A thread takes one unit of two pixels; eight neighbouring threads read a
/// pixel's 128 bytes.
template <typename T, int kCoTile, template <typename, int> class SumsOf>
__global__ void __launch_bounds__(kDeformThreads, kDeformResidentBlocks)
    deform_conv_kernel(const __grid_constant__ DeformConvArgs<T> args) {
    using Sums = SumsOf<T, kCoTile>;
    constexpr int kHalves = 2;
    constexpr int kHalfPixels = kDeformTilePixels / kHalves;
    extern __shared__ __align__(128) unsigned char shared[];
    unsigned char *const weights = shared;
    unsigned char *const samples = weights + 2 * kCoTile * kDeformRowBytes;
    SamplePlaces places;
    places.weights = reinterpret_cast<float4 *>(samples + 2 * kDeformTilePixels * kDeformRowBytes);
    places.pixels = reinterpret_cast<int *>(places.weights + args.plan.taps_per_pass * kDeformTilePixels);

    const DeformConvPlan &plan = args.plan;
    const int tile_index = static_cast<int>(blockIdx.x) / plan.splits;
    const int split = static_cast<int>(blockIdx.x) % plan.splits;
    const int group = static_cast<int>(blockIdx.y) / plan.co_tiles;
    const int first_co = static_cast<int>(blockIdx.y) % plan.co_tiles * kCoTile;
    const DeformTile tile(plan, tile_index);
    const int begin = static_cast<int>(int64_t{plan.steps} * split / plan.splits);
    const int end = static_cast<int>(int64_t{plan.steps} * (split + 1) / plan.splits);

    const unsigned char *image =
        (plan.copies_x ? args.workspace.x : reinterpret_cast<const unsigned char *>(args.x)) +
        tile.image * plan.x_image * static_cast<int64_t>(sizeof(T));
    const unsigned char *group_weights = args.workspace.weights +
                                         (int64_t{group} * plan.steps * plan.weight_rows + first_co) * kDeformRowBytes;
    const int pixel = thread_index() / kDeformRowUnits;
    const int unit = thread_index() % kDeformRowUnits;
    const int rows = min(kCoTile, plan.weight_rows - first_co);

    auto copy_weights = [&](int step, int buffer) {
        const unsigned char *source = group_weights + int64_t{step} * plan.weight_rows * kDeformRowBytes;
        unsigned char *target = weights + buffer * kCoTile * kDeformRowBytes;
#pragma unroll
        for (int first = 0; first < kCoTile; first += kDeformThreads / kDeformRowUnits) {
            const int row = first + pixel;
            copy_unit(target + swizzled(row, unit), source + row * kDeformRowBytes + unit * kDeformUnitBytes,
                      row < rows);
        }
    };

    Sums sums;
    const int steps_of_piece = plan.chunks * plan.taps;
    for (int piece = begin / steps_of_piece; piece * steps_of_piece < end; ++piece) {
        const int64_t piece_index = int64_t{group} * plan.pieces + piece;
        const int offset_group =
            static_cast<int>(piece_index * plan.piece_channels / (args.params.in_channels / args.params.offset_groups));
        for (int first_tap = 0; first_tap < plan.taps; first_tap += plan.taps_per_pass) {
            const DeformConvSpan span = span_of(plan, piece, first_tap);
            const int first = max(begin, span.first_step);
            const int last = min(end, span.first_step + span.steps);
            if (first >= last) {
                continue;
            }
            __syncthreads();
            locate_samples(args, tile, offset_group, span, places);
            __syncthreads();

            SampleUnit<T> in_flight;
            auto load = [&](int step, int half) {
                const int chunk = (step - span.first_step) / span.taps;
                const int tap = (step - span.first_step) % span.taps;
                const int channels = min(plan.chunk_channels, plan.piece_channels - chunk * plan.chunk_channels);
                const int64_t channel = piece_index * plan.piece_stride + chunk * plan.chunk_channels;
                in_flight.load(args,
                               {image + channel * static_cast<int64_t>(sizeof(T)),
                                (channels * static_cast<int>(sizeof(T)) + kDeformUnitBytes - 1) / kDeformUnitBytes},
                               places, tap * kDeformTilePixels + half * kHalfPixels + pixel, unit);
            };
            auto samples_of = [&](int step) {
                return samples + (step - first) % 2 * kDeformTilePixels * kDeformRowBytes;
            };
            auto store = [&](int step, int half) {
                *reinterpret_cast<uint4 *>(samples_of(step) + swizzled(half * kHalfPixels + pixel, unit)) =
                    in_flight.mixed();
            };

            copy_weights(first, 0);
#pragma unroll
            for (int half = 0; half < kHalves; ++half) {
                load(first, half);
                store(first, half);
            }
            finish_copies();
            __syncthreads();
#pragma unroll 1
            for (int step = first; step < last; ++step) {
                const bool more = step + 1 < last;
                const int buffer = (step - first) % 2;
                if (more) {
                    copy_weights(step + 1, 1 - buffer);
                }
#pragma unroll
                for (int half = 0; half < kHalves; ++half) {
                    if (more) {
                        load(step + 1, half);
                    }
#pragma unroll
                    for (int k = 2 * half; k < 2 * half + 2; ++k) {
                        sums.multiply(samples_of(step), weights + buffer * kCoTile * kDeformRowBytes, k);
                    }
                    if (more) {
                        store(step + 1, half);
                    }
                }
                finish_copies();
                __syncthreads();
            }
        }
    }

    const int64_t tile_of_all = int64_t{tile_index} * gridDim.y + blockIdx.y;
    if (plan.splits == 1 || combine(args.workspace, plan.splits, tile_of_all, split, sums)) {
        sums.for_each_run([&](int run_pixel, int channel, const auto &run) {
            store_run(args, tile, group, run_pixel, first_co + channel, run);
        });
    }
}

}  // namespace retinaface

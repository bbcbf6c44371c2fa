#pragma once

#include <cstdint>

#include "math/deform_sample.h"
#include "ops/cuda/common/rounding.cuh"
#include "ops/cuda/common/scalar.cuh"
#include "ops/cuda/common/warp.cuh"
#include "ops/cuda/deform_conv/plan.h"

namespace retinaface {

template <typename T>
struct DeformConvArgs {
    DeformConvParams params;
    DeformConvPlan plan;
    const T *x, *weight, *offset, *bias, *mask;
    T *y;
};

/// The consecutive input channels of one step, all of one group and one offset group.
struct ChannelChunk {
    int first, count;
};

/// Gathers samples of the input: the part of the kernel that handles positions.
///
/// A block keeps a window of the input around its tile in shared memory: kChannels channels at a time, channels last,
/// with zeros outside the map. A table, filled once per offset group, has an entry for each (pixel, tap): the four
/// interpolation weights (times the mask) and the byte position of the upper left pixel in the window. kDeformPieces
/// threads per pixel read the window, so that the threads of a warp read neighbouring bytes. A sample inside the map
/// but outside the window is "far": its position is negative and encodes the pixel, and it is read from global memory.
template <typename T, int kChannels>
class DeformGather {
  public:
    static constexpr int kPixelBytes = kChannels * static_cast<int>(sizeof(T));
    static constexpr int kPieceChannels = kChannels / kDeformPieces;

    /// Ends with a barrier.
    __device__ DeformGather(const DeformConvArgs<T> &args, unsigned char *shared) : args_(args), shared_(shared) {
        const DeformConvPlan &plan = args.plan;
        if (thread_index() == 0) {
            const int tiles = plan.tiles_x * plan.tiles_y;
            const int tile = static_cast<int>(blockIdx.x) % tiles;
            Block &block = *this->block();
            block.image = static_cast<int>(blockIdx.x) / tiles;
            block.row = tile / plan.tiles_x * plan.tile_h;
            block.column = tile % plan.tiles_x * plan.tile_w;
            block.window_row =
                window_begin(block.row * args.params.stride_h - args.params.pad_top, plan.window_h, args.params.height);
            block.window_column = window_begin(block.column * args.params.stride_w - args.params.pad_left,
                                               plan.window_w, args.params.width);
        }
        __syncthreads();
    }

    __device__ int image() const { return block()->image; }

    /// Index within the output map of a pixel of the tile; -1 where the tile has none.
    __device__ int output_pixel(int pixel) const {
        int y = pixel / args_.plan.tile_w;
        int row = block()->row + y;
        int column = block()->column + pixel - y * args_.plan.tile_w;
        bool exists = y < args_.plan.tile_h && row < args_.plan.out_height && column < args_.plan.out_width;
        return exists ? row * args_.plan.out_width + column : -1;
    }

    /// Computes the map index of each pixel of the window, -1 outside the map. Once per block, before stage().
    __device__ void locate_window() {
        int *sources = reinterpret_cast<int *>(shared_ + args_.plan.sources_at);
#pragma unroll 1
        for (int i = thread_index(); i < args_.plan.window_h * args_.plan.window_w; i += kDeformThreads) {
            int row = block()->window_row + i / args_.plan.window_w;
            int column = block()->window_column + i % args_.plan.window_w;
            bool inside = row >= 0 && column >= 0 && row < args_.params.height && column < args_.params.width;
            sources[i] = inside ? row * args_.params.width + column : -1;
        }
    }

    /// Fills the table for `taps` taps from `first_tap`. Called by all threads of the block; ends with a barrier.
    __device__ void locate_samples(int offset_group, int first_tap, int taps) {
        const DeformConvParams &p = args_.params;
        const int64_t plane = static_cast<int64_t>(args_.plan.out_height) * args_.plan.out_width;
        const int64_t first_slot =
            (static_cast<int64_t>(image()) * p.offset_groups + offset_group) * p.kernel_h * p.kernel_w + first_tap;
        bool far = false;
#pragma unroll 1
        for (int i = thread_index(); i < taps * kDeformTilePixels; i += kDeformThreads) {
            DeformSample sample;
            int position = 0;
            int pixel = output_pixel(i % kDeformTilePixels);
            if (pixel >= 0) {
                int64_t slot = first_slot + i / kDeformTilePixels;
                int tap = first_tap + i / kDeformTilePixels;
                int tap_y = pixel / args_.plan.out_width * p.stride_h - p.pad_top + tap / p.kernel_w * p.dilation_h;
                int tap_x = pixel % args_.plan.out_width * p.stride_w - p.pad_left + tap % p.kernel_w * p.dilation_w;
                float y = static_cast<float>(tap_y) + to_float(args_.offset[2 * slot * plane + pixel]);
                float x = static_cast<float>(tap_x) + to_float(args_.offset[(2 * slot + 1) * plane + pixel]);
                float scale = args_.mask == nullptr ? 1.0f : to_float(args_.mask[slot * plane + pixel]);
                if (deform_sample(y, x, p.height, p.width, scale, sample)) {
                    position = position_of(sample.y, sample.x);
                    far |= position < 0;
                }
            }
            weights()[i] = make_float4(sample.top_left, sample.top_right, sample.bottom_left, sample.bottom_right);
            positions()[i] = position;
        }
        any_far_ = __syncthreads_or(far);
    }

    /// Copies the chunk's channels of the window into one of two buffers. The copy is complete only after
    /// finish_staging and a barrier.
    __device__ void stage(ChannelChunk chunk, int buffer) const {
        const int *sources = reinterpret_cast<const int *>(shared_ + args_.plan.sources_at);
        unsigned char *window = window_of(buffer);
        const T *x = args_.x + image() * args_.plan.x_image + chunk.first * args_.plan.x_channel;
        const bool full = chunk.count == kChannels;
        // Vector copies need consecutive channels that start at a multiple of 16 bytes.
        const bool vectors = full && args_.params.layout == Layout::kHwc8 && chunk.first % 8 == 0;
#pragma unroll 1
        for (int i = thread_index(); i < args_.plan.window_h * args_.plan.window_w; i += kDeformThreads) {
            int source = sources[i];
            const T *pixel = x + max(source, 0) * args_.plan.x_pixel;
            unsigned char *target = window + i * kPixelBytes;
            if (vectors) {
#pragma unroll
                for (int byte = 0; byte < kPixelBytes; byte += 16) {
                    copy_16_bytes(target + byte, reinterpret_cast<const unsigned char *>(pixel) + byte, source >= 0);
                }
                continue;
            }
            if (!full) {
                T *channels = reinterpret_cast<T *>(target);
#pragma unroll 1
                for (int c = 0; c < kChannels; ++c, pixel += args_.plan.x_channel) {
                    channels[c] = source >= 0 && c < chunk.count ? *pixel : from_float<T>(0.0f);
                }
                continue;
            }
            alignas(16) T channels[kChannels] = {};
            if (source >= 0) {
#pragma unroll
                for (int c = 0; c < kChannels; ++c, pixel += args_.plan.x_channel) {
                    channels[c] = *pixel;
                }
            }
#pragma unroll
            for (int byte = 0; byte < kPixelBytes; byte += 16) {
                *reinterpret_cast<uint4 *>(target + byte) =
                    *reinterpret_cast<const uint4 *>(reinterpret_cast<const unsigned char *>(channels) + byte);
            }
        }
    }

    static __device__ void finish_staging() {
#if __CUDA_ARCH__ >= 800
        asm volatile("cp.async.wait_all;" ::: "memory");
#endif
    }

    /// Samples the chunk at this thread's pixel, for its piece of the channels, and passes each value to
    /// put(tap, channel within the piece, value), taps ascending. With kTaps > 0 the loop is unrolled, so that tap and
    /// channel are constants in `put`; a far sample is then passed again, to `put_late`, which must overwrite it.
    template <int kTaps, typename Put, typename PutLate>
    __device__ void sample(ChannelChunk chunk, int buffer, int taps, const Put &put, const PutLate &put_late) const {
        const int pixel = thread_index() / kDeformPieces;
        const int piece = thread_index() % kDeformPieces;
        const unsigned char *window = window_of(buffer) + piece * (kPixelBytes / kDeformPieces);
        const float4 *weights = this->weights() + pixel;
        const int *positions = this->positions() + pixel;
        if constexpr (kTaps > 0) {
#pragma unroll
            for (int tap = 0; tap < kTaps; ++tap) {
                // A far sample reads the window's first pixel here: cheaper than a branch, and overwritten below.
                float values[kPieceChannels];
                sample_window(window + max(positions[tap * kDeformTilePixels], 0), weights[tap * kDeformTilePixels],
                              values);
#pragma unroll
                for (int c = 0; c < kPieceChannels; ++c) {
                    put(tap, c, values[c]);
                }
            }
            if (!any_far_) {
                return;
            }
        }
#pragma unroll 1
        for (int tap = 0; tap < taps; ++tap) {
            const int position = positions[tap * kDeformTilePixels];
            const float4 weight = weights[tap * kDeformTilePixels];
            if (position < 0) {
#pragma unroll 1
                for (int c = 0; c < kPieceChannels; ++c) {
                    bool exists = piece * kPieceChannels + c < chunk.count;
                    put_late(tap, c,
                             exists ? sample_map(chunk.first + piece * kPieceChannels + c, ~position, weight) : 0.0f);
                }
            } else if constexpr (kTaps == 0) {
                float values[kPieceChannels];
                sample_window(window + position, weight, values);
#pragma unroll
                for (int c = 0; c < kPieceChannels; ++c) {
                    put_late(tap, c, values[c]);
                }
            }
        }
    }

  private:
    /// Where the block's tile and window begin. In shared memory, because gathering and multiplying need the registers
    /// and do not need this.
    struct Block {
        int image, row, column, window_row, window_column;
    };

    __device__ Block *block() const { return reinterpret_cast<Block *>(shared_ + args_.plan.block_at); }
    __device__ float4 *weights() const { return reinterpret_cast<float4 *>(shared_); }
    __device__ int *positions() const { return reinterpret_cast<int *>(shared_ + args_.plan.positions_at); }
    __device__ unsigned char *window_of(int buffer) const {
        return shared_ + args_.plan.windows_at + buffer * args_.plan.window_bytes;
    }

    /// First row (or column) of the window: `margin` before the first tap, but at most one pixel outside the map.
    __device__ int window_begin(int first_tap, int window_side, int side) const {
        return max(-1, min(first_tap - args_.plan.margin, side + 1 - window_side));
    }

    __device__ int position_of(int y, int x) const {
        int row = y - block()->window_row;
        int column = x - block()->window_column;
        bool in_window = row >= 0 && column >= 0 && row + 1 < args_.plan.window_h && column + 1 < args_.plan.window_w;
        return in_window ? (row * args_.plan.window_w + column) * kPixelBytes
                         : ~((y + 1) * (args_.params.width + 1) + x + 1);
    }

    __device__ void sample_window(const unsigned char *top, const float4 &weight,
                                  float (&values)[kPieceChannels]) const {
        struct alignas(sizeof(T) * kPieceChannels) Piece {
            T channel[kPieceChannels];
        };
        const unsigned char *bottom = top + args_.plan.window_w * kPixelBytes;
        Piece top_left = *reinterpret_cast<const Piece *>(top);
        Piece top_right = *reinterpret_cast<const Piece *>(top + kPixelBytes);
        Piece bottom_left = *reinterpret_cast<const Piece *>(bottom);
        Piece bottom_right = *reinterpret_cast<const Piece *>(bottom + kPixelBytes);
#pragma unroll
        for (int c = 0; c < kPieceChannels; ++c) {
            values[c] = mix(to_float(top_left.channel[c]), to_float(top_right.channel[c]),
                            to_float(bottom_left.channel[c]), to_float(bottom_right.channel[c]), weight);
        }
    }

    __device__ float sample_map(int channel, int pixel, const float4 &weight) const {
        const T *map = args_.x + image() * args_.plan.x_image + channel * args_.plan.x_channel;
        const int y = pixel / (args_.params.width + 1) - 1;
        const int x = pixel % (args_.params.width + 1) - 1;
        auto at = [&](int row, int column) {
            bool inside = row >= 0 && column >= 0 && row < args_.params.height && column < args_.params.width;
            int64_t index = static_cast<int64_t>(row) * args_.params.width + column;
            return inside ? to_float(map[index * args_.plan.x_pixel]) : 0.0f;
        };
        return mix(at(y, x), at(y, x + 1), at(y + 1, x), at(y + 1, x + 1), weight);
    }

    static __device__ float mix(float top_left, float top_right, float bottom_left, float bottom_right,
                                const float4 &weight) {
        return fmaf(bottom_right, weight.w,
                    fmaf(bottom_left, weight.z, fmaf(top_right, weight.y, top_left * weight.x)));
    }

    static __device__ void copy_16_bytes(unsigned char *target, const unsigned char *source, bool exists) {
#if __CUDA_ARCH__ >= 800
        unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(target));
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(source), "r"(exists ? 16 : 0)
                     : "memory");
#else
        *reinterpret_cast<uint4 *>(target) = exists ? *reinterpret_cast<const uint4 *>(source) : uint4{};
#endif
    }

    const DeformConvArgs<T> &args_;
    unsigned char *shared_;
    int any_far_ = 0;
};

}  // namespace retinaface

#pragma once

#include "common/host_device.h"
#include "common/landmarks.h"

namespace retinaface {

/// Five points: five times their centre, and five times each point's way from there. So points that coincide are
/// exactly 0, which a division by 5 would spoil.
struct FivePoints {
    double sum_x, sum_y;
    double x[kLandmarkPoints], y[kLandmarkPoints];
};

/// From x, y, x, y, ...
RF_HOST_DEVICE FivePoints five_points(const float *values) {
    FivePoints points{};
    for (int i = 0; i < kLandmarkPoints; ++i) {
        points.sum_x += static_cast<double>(values[2 * i]);
        points.sum_y += static_cast<double>(values[2 * i + 1]);
    }
    for (int i = 0; i < kLandmarkPoints; ++i) {
        points.x[i] = kLandmarkPoints * static_cast<double>(values[2 * i]) - points.sum_x;
        points.y[i] = kLandmarkPoints * static_cast<double>(values[2 * i + 1]) - points.sum_y;
    }
    return points;
}

/// Turns by an angle, scales by one factor, and moves: (x, y) becomes (a x - b y + offset_x, b x + a y + offset_y).
struct Similarity {
    double a, b, offset_x, offset_y;
};

/// The one with the given factors that takes the centre of `from` to that of `to`.
RF_HOST_DEVICE Similarity similarity_of_centres(double a, double b, const FivePoints &from, const FivePoints &to) {
    constexpr double kFifth = 1.0 / kLandmarkPoints;
    return {a, b, kFifth * (to.sum_x - (a * from.sum_x - b * from.sum_y)),
            kFifth * (to.sum_y - (b * from.sum_x + a * from.sum_y))};
}

/// A similarity and its inverse.
struct SimilarityFit {
    Similarity forward, inverse;
};

/// The similarity that takes `from` nearest to `to`, by the sum of squared distances. In two dimensions the rotation
/// and the scale of Umeyama (1991), with his guard against reflections, are the solution of two linear equations. Where
/// there is none the inverse has NaN or infinity. float32 coordinates overflow nothing.
RF_HOST_DEVICE SimilarityFit fit_similarity(const FivePoints &from, const FivePoints &to) {
    double spread = 0, dot = 0, cross = 0;
    for (int i = 0; i < kLandmarkPoints; ++i) {
        spread += from.x[i] * from.x[i] + from.y[i] * from.y[i];
        dot += from.x[i] * to.x[i] + from.y[i] * to.y[i];
        cross += from.x[i] * to.y[i] - from.y[i] * to.x[i];
    }
    const double inverse = spread / (dot * dot + cross * cross);
    return {similarity_of_centres(dot / spread, cross / spread, from, to),
            similarity_of_centres(dot * inverse, -cross * inverse, to, from)};
}

/// The matrix [2, 3] of a similarity; zeros for one that is not usable.
RF_HOST_DEVICE void write_transform(const Similarity &similarity, bool usable, float *matrix) {
    const double values[6] = {similarity.a, -similarity.b, similarity.offset_x,
                              similarity.b, similarity.a,  similarity.offset_y};
    for (int i = 0; i < 6; ++i) {
        matrix[i] = usable ? static_cast<float>(values[i]) : 0.0f;
    }
}

}  // namespace retinaface

#pragma once

#include "common/host_device.h"
#include "common/landmarks.h"

namespace retinaface {

/// Five points: their centre, and each point's way from there.
struct FivePoints {
    double mean_x, mean_y;
    double x[kLandmarkPoints], y[kLandmarkPoints];
};

/// From x, y, x, y, ... The ways of points that coincide are exactly 0: five times a float32 value is exact in float64,
/// and a fifth of that rounds to the value.
RF_HOST_DEVICE FivePoints five_points(const float *values) {
    constexpr double kFifth = 1.0 / kLandmarkPoints;
    FivePoints points{};
    for (int i = 0; i < kLandmarkPoints; ++i) {
        points.x[i] = static_cast<double>(values[2 * i]);
        points.y[i] = static_cast<double>(values[2 * i + 1]);
        points.mean_x += points.x[i];
        points.mean_y += points.y[i];
    }
    points.mean_x *= kFifth;
    points.mean_y *= kFifth;
    for (int i = 0; i < kLandmarkPoints; ++i) {
        points.x[i] -= points.mean_x;
        points.y[i] -= points.mean_y;
    }
    return points;
}

/// Turns by an angle, scales by one factor, and moves: (x, y) becomes (a x - b y + offset_x, b x + a y + offset_y).
struct Similarity {
    double a, b, offset_x, offset_y;
};

/// The one with the given factors that takes the centre of `from` to that of `to`.
RF_HOST_DEVICE Similarity similarity_of_centres(double a, double b, const FivePoints &from, const FivePoints &to) {
    return {a, b, to.mean_x - (a * from.mean_x - b * from.mean_y), to.mean_y - (b * from.mean_x + a * from.mean_y)};
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

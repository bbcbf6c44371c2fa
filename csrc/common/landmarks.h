#pragma once

namespace retinaface {

constexpr int kLandmarkPoints = 5;                    // eyes, nose, corners of the mouth
constexpr int kLandmarkValues = 2 * kLandmarkPoints;  // x and y of each
constexpr int kMaxPoints = 128;                       // of heads of other kinds
constexpr int kMaxPayload = 1024;                     // numbers of a candidate behind its box, points among them

}  // namespace retinaface

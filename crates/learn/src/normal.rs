//! The normal distribution, as far as the figures need it.

use statrs::function::erf;

/// The 97.5% quantile of the standard normal distribution: half the width of a 95% interval in standard deviations.
pub const Z95: f64 = 1.959_963_984_540_054;

/// The probability of a standard normal deviate at least so far from 0, on either side.
pub fn two_sided(z: f64) -> f64 {
    erf::erfc(z.abs() / std::f64::consts::SQRT_2)
}

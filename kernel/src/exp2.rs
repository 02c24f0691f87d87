//! 2^-x by additions and multiplications alone, so that it is the same number on every processor.
//!
//! The mathematical libraries differ in the last bit, from processor to processor and from numpy to C. This is the
//! algorithm of `somabrain_service.domain.ranking.exp2`, operation by operation: Horner's scheme over the Taylor series
//! of 2^-f for the fraction f of x, times the exact power of two.

/// Above it a result counts as 2^-64, which rounds to 0 in every score.
const MAX_EXPONENT: f64 = 64.0;
/// Terms beyond it are below half a unit in the last place of 2^-f >= 1/2.
const TERMS: usize = 20;
/// (-ln 2)^n / n!, each from the one before.
const COEFFICIENTS: [f64; TERMS] = coefficients();

const fn coefficients() -> [f64; TERMS] {
    let mut coefficients = [1.0; TERMS];
    let mut n = 1;
    while n < TERMS {
        coefficients[n] = coefficients[n - 1] * -std::f64::consts::LN_2 / n as f64;
        n += 1;
    }
    coefficients
}

/// Returns 2^-x for x >= 0.
pub fn exp2_negative(x: f64) -> f64 {
    let x = x.min(MAX_EXPONENT);
    let whole = x.floor();
    let fraction = x - whole;
    let power = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| sum * fraction + coefficient);
    // 2^-64 to 1: the sum of exponents stays far from that of denormal numbers, so the product is exact.
    power * f64::from_bits((1023 - whole as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::exp2_negative;

    #[test]
    fn is_within_two_units_of_the_library() {
        for step in 0..64_000 {
            let x = f64::from(step) / 1000.0;
            let expected = (-x).exp2();
            assert!((exp2_negative(x) - expected).abs() <= 2.0 * f64::EPSILON * expected, "{x}");
        }
        assert_eq!(exp2_negative(0.0), 1.0);
        assert_eq!(exp2_negative(1.0), 0.5);
        assert_eq!(exp2_negative(f64::INFINITY), exp2_negative(64.0));
    }
}

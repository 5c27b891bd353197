//! Numbers of the command line, each refused with the range that it must lie in.

use overread_domain::Probability;

fn number(text: &str, lies: impl Fn(f64) -> bool, range: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| lies(*number)).ok_or_else(|| range.to_owned())
}

pub(super) fn millimetres(text: &str) -> Result<f64, String> {
    number(text, |n| n > 0.0 && n < 100.0, "a spacing lies above 0 and below 100 mm")
}

pub(super) fn micrometres(text: &str) -> Result<f64, String> {
    number(text, |n| n > 0.0 && n < 100.0, "a pixel of a slide is more than 0 and less than 100 µm")
}

pub(super) fn threshold(text: &str) -> Result<f64, String> {
    number(text, |n| (0.0..=1.0).contains(&n), "a threshold lies between 0 and 1")
}

pub(super) fn studies(text: &str) -> Result<f64, String> {
    number(text, |n| n > 0.0 && n.is_finite(), "a number of studies above 0")
}

pub(super) fn prevalence(text: &str) -> Result<Probability, String> {
    let inside = |n| n > 0.0 && n < 1.0;
    let number = number(text, inside, "a prevalence lies between 0 and 1, such as 0.1 for 10%")?;
    Probability::new(number).map_err(|e| e.to_string())
}

//! The figures are what scikit-learn, scipy and the definitions say, on random sets with ties.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use overread_domain::{Decision, Probability};
use overread_learn::compare::compare;
use overread_learn::record::FindingValidation;
use overread_learn::{Answer, FindingCases, Settings};
use overread_testkit::tools::python;
use serde_json::json;

/// Numbers that look random and are the same on every run (Knuth's 64-bit congruential generator).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Cases whose probabilities lie on a grid of so many steps, so that there are ties, and mean what they say more or less.
fn cases(numbers: &mut Numbers, count: usize, steps: f64, prevalence: f64) -> Vec<Answer> {
    let of = |truth: bool, numbers: &mut Numbers| {
        let near =
            if truth { numbers.next().max(numbers.next()) } else { numbers.next().min(numbers.next()) };
        // Off the edges of the diagram's bins, where rounding chooses the side.
        let p = ((near * steps).floor() + 0.37) / steps;
        let decision = match p {
            p if p >= 0.7 => Decision::Present,
            p if p <= 0.2 => Decision::Absent,
            _ => Decision::Indeterminate,
        };
        Answer { truth, score: p, probability: Probability::new(p).ok(), decision }
    };
    (0..count)
        .map(|_| {
            let truth = numbers.next() < prevalence;
            of(truth, numbers)
        })
        .collect()
}

fn set(numbers: &mut Numbers, count: usize, steps: f64, prevalence: f64) -> serde_json::Value {
    let first = cases(numbers, count, steps, prevalence);
    let others = cases(numbers, count, steps, 0.5);
    // The second edition agrees with the first on about half of the cases.
    let second: Vec<Answer> = first
        .iter()
        .zip(others)
        .map(|(a, b)| if numbers.next() < 0.5 { *a } else { Answer { truth: a.truth, ..b } })
        .collect();
    let observed = first.iter().filter(|c| c.truth).count() as f64 / count as f64;
    let finding = FindingCases {
        // Stated at the cases' own prevalence, so that nothing moves.
        prevalence: Probability::new(observed).ok(),
        rule_in: Probability::new(0.7).ok(),
        cases: first.clone(),
        ..FindingCases::default()
    };
    let settings = Settings { threshold: Some(0.45), ..Settings::default() };
    let pairs: Vec<(Answer, Answer)> = first.iter().copied().zip(second.iter().copied()).collect();
    let column =
        |of: &[Answer], value: fn(&Answer) -> serde_json::Value| of.iter().map(value).collect::<Vec<_>>();
    json!({
        "truth": column(&first, |a| a.truth.into()),
        "score": column(&first, |a| a.score.into()),
        "present": column(&first, |a| (a.decision == Decision::Present).into()),
        "other": column(&second, |a| a.score.into()),
        "other_present": column(&second, |a| (a.decision == Decision::Present).into()),
        "finding": FindingValidation::of(finding, &settings),
        "comparison": compare("x", &pairs),
    })
}

#[test]
fn figures_are_those_of_reference_libraries() {
    let mut numbers = Numbers(1);
    let mut sets = vec![];
    for (count, steps, prevalence) in [
        (30, 7.0, 0.5),
        (200, 11.0, 0.3),
        (500, 1e6, 0.1),
        (2000, 40.0, 0.02),
        (3000, 1e9, 0.74),
        (77, 3.0, 0.6),
    ] {
        sets.push(set(&mut numbers, count, steps, prevalence));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_string(&sets).unwrap()).unwrap();
    assert_eq!(python("validation_figures.py", &[file.path()]).trim(), "6");
}

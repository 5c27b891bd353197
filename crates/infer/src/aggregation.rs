//! From the pictures of a study to one answer a label.

use crate::manifest::Aggregation;

/// One label's logit for the study, and the pictures that carried it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The study's logit.
    pub logit: f64,
    /// Which pictures it was taken from, as indices, the highest logit first; empty where all count alike.
    pub carried_by: Vec<usize>,
}

impl Aggregation {
    /// The answer of a label from its logits, one a picture that was accepted.
    ///
    /// # Panics
    /// Without pictures there is no answer: `logits` holds at least one.
    pub fn answer(self, logits: &[f64]) -> Answer {
        assert!(!logits.is_empty(), "a label is answered from at least one picture");
        match self {
            Self::MaxProbability => mean_of_top(logits, 1),
            Self::TopMeanLogit { top } => {
                mean_of_top(logits, usize::try_from(top.get()).unwrap_or(usize::MAX))
            }
            Self::MeanLogit => Answer { logit: mean(logits.iter().copied()), carried_by: vec![] },
        }
    }
}

/// The mean of the highest logits; of pictures that are level the first comes first.
fn mean_of_top(logits: &[f64], top: usize) -> Answer {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    order.truncate(top);
    Answer { logit: mean(order.iter().map(|i| logits[*i])), carried_by: order }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aggregation(json: &str) -> Aggregation {
        serde_json::from_str(json).unwrap()
    }

    const LOGITS: [f64; 5] = [-1.0, 4.0, 0.5, 4.0, 2.0];

    #[test]
    fn the_highest_is_one_picture() {
        let max = aggregation(r#"{"method": "max-probability"}"#).answer(&LOGITS);
        assert_eq!(max, Answer { logit: 4.0, carried_by: vec![1] });
    }

    #[test]
    fn the_mean_is_of_all() {
        let mean = aggregation(r#"{"method": "mean-logit"}"#).answer(&LOGITS);
        // (-1 + 4 + 0.5 + 4 + 2) / 5
        assert_eq!(mean, Answer { logit: 1.9, carried_by: vec![] });
    }

    #[test]
    fn the_mean_of_the_top_names_its_pictures() {
        let top =
            |k: u32| aggregation(&format!(r#"{{"method": "top-mean-logit", "top": {k}}}"#)).answer(&LOGITS);
        // (4 + 4 + 2) / 3
        assert_eq!(top(3).carried_by, [1, 3, 4]);
        assert!((top(3).logit - 10.0 / 3.0).abs() < 1e-12);
        assert_eq!(top(1), Answer { logit: 4.0, carried_by: vec![1] });
        // Fewer pictures than k: all of them.
        assert_eq!(top(9).carried_by, [1, 3, 4, 2, 0]);
        assert!((top(9).logit - 1.9).abs() < 1e-12);
    }

    #[test]
    fn a_top_that_is_missing_or_nothing_is_refused() {
        let why = |json: &str| serde_json::from_str::<Aggregation>(json).unwrap_err().to_string();
        assert!(why(r#"{"method": "top-mean-logit"}"#).contains("top"));
        assert!(why(r#"{"method": "top-mean-logit", "top": 0}"#).contains("nonzero"));
        assert!(why(r#"{"method": "median"}"#).contains("top-mean-logit"));
    }
}

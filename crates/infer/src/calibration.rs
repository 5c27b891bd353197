//! Logits to findings: Platt scaling, a program's prevalence, two thresholds.

use overread_domain::{Decision, Finding, Probability};

use crate::manifest::FindingSpec;

impl FindingSpec {
    /// The finding that a logit stands for, at a prevalence (the pack's reference prevalence if none is stated).
    pub fn finding(&self, logit: f64, prevalence: Option<Probability>) -> Finding {
        let mut finding = self.unanswered();
        let Some(calibration) = self.calibration else { return self.uncalibrated(logit) };
        let from = calibration.reference_prevalence;
        let to = prevalence.unwrap_or(from);
        let p = Probability::from_logit(calibration.slope * logit + calibration.intercept);
        finding.probability = Some(p.at_prevalence(from, to));
        finding.prevalence = Some(to);
        finding.rule_out = self.rule_out.map(|t| t.probability.at_prevalence(from, to));
        finding.rule_in = self.rule_in.map(|t| t.probability.at_prevalence(from, to));
        // Decided before the shift: the decision rests on the evidence and does not move by rounding.
        finding.decision =
            Finding::decide(p, self.rule_out.map(|t| t.probability), self.rule_in.map(|t| t.probability));
        finding
    }

    /// The finding of a logit for which there is no calibration: it is called a score, and no decision follows from it.
    pub fn uncalibrated(&self, logit: f64) -> Finding {
        let mut finding = self.unanswered();
        finding.score = Some(Probability::from_logit(logit).get());
        finding.decision = Decision::Indeterminate;
        finding
    }

    /// The finding where the reading does not answer.
    pub fn unanswered(&self) -> Finding {
        Finding {
            label: self.label.clone(),
            code: self.code.clone(),
            site: self.site.clone(),
            laterality: None,
            probability: None,
            score: None,
            decision: Decision::NotAssessed,
            rule_out: None,
            rule_in: None,
            prevalence: None,
            experimental: self.experimental,
            reason: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(calibrated: bool) -> FindingSpec {
        let calibration = serde_json::json!({"method": "platt", "slope": 2.0, "intercept": 0.5,
            "reference_prevalence": 0.5, "patients": 100, "positives": 50});
        serde_json::from_value(serde_json::json!({
            "label": "x", "code": {"scheme": "SCT", "value": "1", "meaning": "X"},
            "calibration": calibrated.then_some(calibration),
            "rule_out": calibrated.then(|| serde_json::json!({"probability": 0.1})),
            "rule_in": calibrated.then(|| serde_json::json!({"probability": 0.9})),
        }))
        .unwrap()
    }

    #[test]
    fn without_calibration_there_is_a_score_and_no_probability() {
        let finding = spec(false).finding(3.0, None);
        assert_eq!((finding.probability, finding.decision), (None, Decision::Indeterminate));
        assert!(finding.score.is_some());
    }

    #[test]
    fn prevalence_moves_probability_and_thresholds_alike() {
        let here = spec(true).finding(1.0, None);
        let rare = spec(true).finding(1.0, Some(Probability::new(0.05).unwrap()));
        assert!((here.probability.unwrap().get() - 1.0 / (1.0 + (-2.5f64).exp())).abs() < 1e-12);
        assert!(rare.probability < here.probability && rare.rule_in < here.rule_in);
        assert_eq!(here.decision, rare.decision);
    }
}

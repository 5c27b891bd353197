//! Which program a study is for. Rules run here, where descriptions, sources and ages are known; what crosses to the
//! service is the name of the program.

use overread_domain::{Priority, Sex};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// One `[[edge.program]]`: the first rule of which every given condition holds for one image takes the study.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The program's name at the service.
    pub name: String,
    /// What must hold; nothing given means every study with images.
    #[serde(default)]
    pub when: Conditions,
    /// How soon the answer is wanted.
    #[serde(default)]
    pub priority: Priority,
    /// Where results go; every destination if not given.
    pub destinations: Option<Vec<String>>,
    /// Which images of the study go out.
    #[serde(default)]
    pub images: Images,
}

/// Which images of a study go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Images {
    /// All of them.
    #[default]
    All,
    /// Those alone for which the rule's conditions hold: only what the program needs crosses a poor line.
    Matching,
}

/// Conditions on one image and its study. Lists hold if one entry does; texts are compared without case.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Modality (0008,0060).
    pub modality: Vec<String>,
    /// SOP Class UID (0008,0016).
    pub sop_class: Vec<String>,
    /// Body Part Examined (0018,0015).
    pub body_part: Vec<String>,
    /// View Position (0018,5101).
    pub view: Vec<String>,
    /// Calling AE title, `stow` or `upload`.
    pub source: Vec<String>,
    /// Regular expression over Study Description (0008,1030), Series Description (0008,103E) and Protocol Name (0018,1030).
    pub description: Option<String>,
    /// Regular expression over Requested Procedure Description (0032,1060) and the codes and meanings of Procedure Code Sequence (0008,1032).
    pub order: Option<String>,
    /// Years: at least the first, below the second. A patient whose age is not known does not match.
    pub age_years: Option<[f64; 2]>,
    /// Patient's Sex (0010,0040).
    pub sex: Option<Sex>,
}

/// What rules look at: one image of a study. Knows the patient's words; stays at the edge.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct ImageFacts {
    /// Modality.
    pub modality: String,
    /// SOP Class UID.
    pub sop_class: String,
    /// Body Part Examined.
    pub body_part: String,
    /// View Position.
    pub view: String,
    /// `L`, `R`, `B`, `U` or empty.
    pub laterality: String,
    /// Where it came from.
    pub source: String,
    /// Descriptions and protocol, one a line.
    pub descriptions: String,
    /// Procedure and order, one a line.
    pub order: String,
    /// Age in years at the study.
    pub age_years: Option<f64>,
    /// Sex.
    pub sex: Option<Sex>,
    /// Whether it says that its pixels tell who the patient is: Burned In Annotation (0028,0301) is YES.
    #[serde(default)]
    pub burned_in: bool,
    /// Whether it shows the label of a slide, or all of its glass.
    #[serde(default)]
    pub slide_label: bool,
}

impl Rule {
    /// Checks the regular expressions and the name.
    ///
    /// # Errors
    /// What is wrong, for the message of a configuration error.
    pub fn check(&self) -> Result<(), String> {
        if self.name.is_empty() || self.name.len() > 64 {
            return Err("name has 1 to 64 characters".into());
        }
        for (key, pattern) in [("description", &self.when.description), ("order", &self.when.order)] {
            if let Some(pattern) = pattern {
                Regex::new(pattern).map_err(|e| format!("when.{key} is no regular expression: {e}"))?;
            }
        }
        if let Some([from, below]) = self.when.age_years
            && !(from >= 0.0 && below > from)
        {
            return Err("when.age_years is [from, below] with 0 <= from < below".into());
        }
        Ok(())
    }
}

/// A rule whose expressions are compiled.
pub struct Matcher {
    rules: Vec<(Rule, Option<Regex>, Option<Regex>)>,
}

impl Matcher {
    /// Compiles rules that were checked; one that cannot be compiled never matches.
    pub fn new(rules: &[Rule]) -> Self {
        let compile = |pattern: &Option<String>| pattern.as_ref().and_then(|p| Regex::new(p).ok());
        let rules = rules.iter().map(|r| (r.clone(), compile(&r.when.description), compile(&r.when.order)));
        Self { rules: rules.collect() }
    }

    /// Whether there are no rules: then every study goes out, without a hint.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The first rule that one of the images fulfils.
    pub fn choose(&self, images: &[ImageFacts]) -> Option<&Rule> {
        let holds = |(rule, description, order): &&(Rule, Option<Regex>, Option<Regex>)| {
            images.iter().any(|image| matches(rule, description.as_ref(), order.as_ref(), image))
        };
        self.rules.iter().find(holds).map(|(rule, _, _)| rule)
    }

    /// Whether an image goes out for a program: no if its rule sends matching images alone and this is none. The label of a slide never does:
    /// no program reads it, and a name may stand on it.
    pub fn sends(&self, program: Option<&str>, image: &ImageFacts) -> bool {
        if image.slide_label {
            return false;
        }
        let rule = self.rules.iter().find(|(rule, _, _)| Some(rule.name.as_str()) == program);
        rule.is_none_or(|(rule, description, order)| {
            rule.images == Images::All || matches(rule, description.as_ref(), order.as_ref(), image)
        })
    }
}

fn matches(rule: &Rule, description: Option<&Regex>, order: Option<&Regex>, image: &ImageFacts) -> bool {
    let when = &rule.when;
    let listed =
        |list: &[String], value: &str| list.is_empty() || list.iter().any(|l| l.eq_ignore_ascii_case(value));
    let said = |wanted: &Option<String>, pattern: Option<&Regex>, text: &str| {
        wanted.is_none() || pattern.is_some_and(|p| text.lines().any(|line| p.is_match(line)))
    };
    let aged =
        when.age_years.is_none_or(|[from, below]| image.age_years.is_some_and(|a| a >= from && a < below));
    listed(&when.modality, &image.modality)
        && listed(&when.sop_class, &image.sop_class)
        && listed(&when.body_part, &image.body_part)
        && listed(&when.view, &image.view)
        && listed(&when.source, &image.source)
        && said(&when.description, description, &image.descriptions)
        && said(&when.order, order, &image.order)
        && aged
        && when.sex.is_none_or(|sex| image.sex == Some(sex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(toml_like: serde_json::Value) -> Rule {
        serde_json::from_value(toml_like).unwrap()
    }

    fn child() -> ImageFacts {
        ImageFacts {
            modality: "DX".into(),
            body_part: "CHEST".into(),
            source: "WARD".into(),
            descriptions: "Thorax pa\nroutine".into(),
            age_years: Some(4.0),
            sex: Some(Sex::Female),
            ..ImageFacts::default()
        }
    }

    #[test]
    fn the_label_of_a_slide_never_goes_out() {
        let matcher = Matcher::new(&[rule(serde_json::json!({"name": "any"}))]);
        let label = ImageFacts { slide_label: true, ..child() };
        assert!(matcher.sends(Some("any"), &child()) && matcher.sends(None, &child()));
        assert!(!matcher.sends(Some("any"), &label) && !matcher.sends(None, &label));
    }

    #[test]
    fn every_condition_must_hold_and_the_first_rule_wins() {
        let rules = [
            rule(serde_json::json!({"name": "adults", "when": {"modality": ["DX"], "age_years": [18, 150]}})),
            rule(
                serde_json::json!({"name": "stat", "when": {"description": "(?i)^thorax", "source": ["ward"]}, "priority": "stat"}),
            ),
            rule(serde_json::json!({"name": "any"})),
        ];
        let matcher = Matcher::new(&rules);
        let chosen = matcher.choose(&[child()]).unwrap();
        assert_eq!((chosen.name.as_str(), chosen.priority), ("stat", Priority::Stat));
        let elsewhere = ImageFacts { source: "CT1".into(), ..child() };
        assert_eq!(matcher.choose(&[elsewhere]).unwrap().name, "any");
        assert!(Matcher::new(&rules[..2]).choose(&[ImageFacts::default()]).is_none());
    }

    #[test]
    fn a_rule_may_send_what_matches_alone() {
        let matching = serde_json::json!({"name": "a", "when": {"modality": ["DX"]}, "images": "matching"});
        let matcher = Matcher::new(&[rule(matching), rule(serde_json::json!({"name": "b"}))]);
        let other = ImageFacts { modality: "CT".into(), ..child() };
        assert!(matcher.sends(Some("a"), &child()) && !matcher.sends(Some("a"), &other));
        assert!(matcher.sends(Some("b"), &other) && matcher.sends(None, &other));
    }

    #[test]
    fn an_unknown_age_matches_no_range() {
        let matcher =
            Matcher::new(&[rule(serde_json::json!({"name": "a", "when": {"age_years": [0, 150]}}))]);
        assert!(matcher.choose(&[ImageFacts { age_years: None, ..child() }]).is_none());
        assert!(matcher.choose(&[child()]).is_some());
    }

    #[test]
    fn broken_rules_are_told() {
        let broken = rule(serde_json::json!({"name": "a", "when": {"description": "("}}));
        assert!(broken.check().unwrap_err().contains("when.description"));
        let unknown =
            serde_json::from_value::<Rule>(serde_json::json!({"name": "a", "when": {"modalities": []}}));
        assert!(unknown.unwrap_err().to_string().contains("modalities"));
    }
}

//! Somebody else's model → the manifest of an opaque pack: what the graph and a MONAI bundle tell is filled in, what they cannot tell is
//! asked for, all at once. How a picture becomes a tensor is never guessed.
//!
//! `graph` reads the graph's inputs and outputs, `monai` the bundle's own description; here both meet what was stated.

mod graph;
mod monai;

use std::fmt;

use serde_json::{Value, json};

use crate::manifest::PACK_FORMAT;
use crate::onnx::Interface;
use graph::GraphFacts;
use monai::BundleFacts;

/// What an import starts from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The graph's place inside the pack, such as `models/model.onnx`.
    pub graph: &'a str,
    /// What the graph takes and returns.
    pub interface: &'a Interface,
    /// What its importer states: the `overread` part of the metadata, as far as it goes, and `version`.
    pub stated: &'a Value,
    /// A bundle's `configs/metadata.json`; null where there is none.
    pub metadata: &'a Value,
    /// A bundle's `configs/inference.json`; null where there is none.
    pub inference: &'a Value,
}

/// The metadata of a pack to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The content of `configs/metadata.json`: the bundle's own keys, and ours.
    pub metadata: Value,
    /// What was not stated, and where it was found.
    pub derived: Vec<Derived>,
}

/// A key that was filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// The key under `overread`, its parts joined by dots.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Where it was found.
    pub from: String,
}

/// Why there is no draft.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// A model that packs cannot hold.
    #[error("{0}")]
    Unsuitable(String),
    /// What has to be stated.
    #[error("{0}")]
    Missing(Missing),
}

/// Keys that nothing told.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// The keys, each with what it means.
    pub keys: Vec<(String, String)>,
    /// A manifest with values that such keys may have.
    pub example: Value,
    /// What the bundle tells of its preprocessing, for whoever fills them in.
    pub hints: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} keys can be derived from nothing and must be stated:", self.keys.len())?;
        for (key, meaning) in &self.keys {
            writeln!(f, "  {key}: {meaning}")?;
        }
        for hint in &self.hints {
            writeln!(f, "{hint}")?;
        }
        let example = serde_json::to_string_pretty(&self.example).unwrap_or_default();
        write!(
            f,
            "Write them into a file, with the model's own values, and give it as --manifest, such as\n{example}"
        )
    }
}

/// A manifest while it is filled in.
struct Form {
    overread: Value,
    derived: Vec<Derived>,
    missing: Vec<(String, String)>,
    example: Value,
}

/// A value and where it was found.
type Found = Option<(Value, String)>;

/// Fills in the manifest.
///
/// # Errors
/// [`ImportError`]: the model does not fit into a pack, or keys are missing, all of them at once.
pub fn draft(source: &Source<'_>) -> Result<Draft, ImportError> {
    let mut base = source.metadata["overread"].clone();
    merge(&mut base, source.stated);
    let bundle = BundleFacts::read(source.metadata, source.inference)?;
    let graph = GraphFacts::read(source.interface, &base["model"])?;
    let mut form = Form { overread: base, derived: vec![], missing: vec![], example: json!({}) };
    form.about(&bundle);
    form.model(source.graph, &graph);
    form.preprocessing(&graph, &bundle);
    form.findings(&graph, &bundle)?;
    let version = form.version(source.metadata);
    if !form.missing.is_empty() {
        let (keys, example, hints) = (form.missing, form.example, bundle.hints());
        return Err(ImportError::Missing(Missing { keys, example, hints }));
    }
    let mut metadata = if source.metadata.is_object() { source.metadata.clone() } else { json!({}) };
    metadata["version"] = version;
    metadata["overread"] = form.overread;
    Ok(Draft { metadata, derived: form.derived })
}

impl Form {
    fn about(&mut self, bundle: &BundleFacts) {
        self.fill("pack_format", Some((PACK_FORMAT.into(), "this build".into())), "", PACK_FORMAT.into());
        self.fill(
            "id",
            None,
            "name of the lineage: lower-case letters, digits, dashes",
            "brain-mri-tumour".into(),
        );
        let id = self.get("id").cloned().map(|id| (id, "id".to_owned()));
        self.fill("program", id, "the program it is for", "brain-mri-tumour".into());
        self.fill("title", bundle.title(), "one line for people", "Tumours in brain MRI".into());
        let statement =
            "what it may be asked, in words; ends with \"not for clinical use without local validation\"";
        self.fill(
            "intended_use.statement",
            bundle.statement(),
            statement,
            "Research on brain MRI; not for clinical use without local validation.".into(),
        );
        let modalities = "DICOM modalities (0008,0060) that it reads; [] for photographs alone";
        self.fill("intended_use.modalities", bundle.modalities(), modalities, json!(["MR"]));
        let photographs = "whether it reads pictures that are no DICOM files";
        self.fill("intended_use.photographs", None, photographs, true.into());
        self.fill("terms.licence", None, "SPDX expression of the weights", "Apache-2.0".into());
        let research = "whether its terms, or those of its data, allow research alone";
        self.fill("terms.research_only", None, research, true.into());
    }

    fn model(&mut self, path: &str, graph: &GraphFacts) {
        self.fill(
            "model.kind",
            Some(("opaque".into(), "a graph whose inside is unknown".into())),
            "",
            json!("opaque"),
        );
        self.fill("model.graph", Some((path.into(), "the file".into())), "", path.into());
        self.fill(
            "model.input",
            graph.input(),
            "which of the graph's inputs takes the picture",
            "image".into(),
        );
        self.fill(
            "model.output",
            graph.output(),
            "which of the graph's outputs holds one number a label",
            "pred".into(),
        );
        let layout = "nchw (pictures, channels, rows, columns) or nhwc";
        self.fill("model.layout", graph.layout(), layout, "nchw".into());
        let activation = "what the numbers are: logits, softmax-logits or probabilities";
        self.fill("model.activation", graph.activation(), activation, "softmax-logits".into());
    }

    fn preprocessing(&mut self, graph: &GraphFacts, bundle: &BundleFacts) {
        let side = |of: &str| format!("{of} of the tensor in pixels");
        let width = graph.width().or_else(|| bundle.side());
        self.fill("preprocessing.width", width, &side("width"), 224.into());
        let height = graph.height().or_else(|| bundle.side());
        self.fill("preprocessing.height", height, &side("height"), 224.into());
        let channels = graph.channels().or_else(|| bundle.channels());
        self.fill("preprocessing.channels", channels, "1 (grey) or 3 (red, green, blue)", 3.into());
        let count = self.get("preprocessing.channels").and_then(Value::as_u64).unwrap_or(3);
        let (mean, std) = bundle.scale(count).unzip();
        let of_values = "one a channel, for values from 0 to 1: (value - mean) / std";
        let numbers = |n: f64| json!(vec![n; usize::try_from(count).unwrap_or(1).min(3)]);
        self.fill("preprocessing.mean", mean, of_values, numbers(0.0));
        self.fill("preprocessing.std", std, of_values, numbers(1.0));
        let fit = "how a picture of another shape is made to fit: stretch, centre-crop, letterbox";
        self.fill("preprocessing.fit", None, fit, "stretch".into());
        let filter = "how it is resampled: bilinear-antialias, bicubic-antialias, lanczos3-antialias";
        self.fill("preprocessing.filter", None, filter, "bilinear-antialias".into());
        let modalities = self.get("intended_use.modalities").and_then(Value::as_array);
        if modalities.is_some_and(|m| !m.is_empty()) || bundle.window().is_some() {
            let voi = "which display values a DICOM image gets: first-window-or-full-range, or fixed windows";
            self.fill("preprocessing.voi", bundle.window(), voi, "first-window-or-full-range".into());
        }
    }

    /// One entry a number that the graph returns: its label may be known, what it means in a coding scheme never is.
    fn findings(&mut self, graph: &GraphFacts, bundle: &BundleFacts) -> Result<(), ImportError> {
        let labels = bundle.labels();
        let stated = self.get("findings").and_then(Value::as_array).cloned();
        let counts =
            [graph.labels(), (!labels.is_empty()).then_some(labels.len()), stated.as_ref().map(Vec::len)];
        let Some(count) = counts.into_iter().flatten().next() else {
            self.ask("findings", "one entry a number that the graph returns", json!([finding("tumour")]));
            return Ok(());
        };
        if let Some(other) = counts.into_iter().flatten().find(|c| *c != count) {
            return Err(ImportError::Unsuitable(format!(
                "{count} and {other} labels: the graph's output, the bundle's channel_def and the manifest's findings must agree"
            )));
        }
        let mut findings = stated.unwrap_or_else(|| vec![json!({}); count]);
        let mut examples = vec![];
        for (index, entry) in findings.iter_mut().enumerate() {
            let label = labels.get(index);
            if entry["label"].is_null()
                && let Some(label) = label
            {
                entry["label"] = label.clone().into();
                let (key, from) = (format!("findings[{index}].label"), "the bundle's channel_def".to_owned());
                self.derived.push(Derived { key, value: label.clone().into(), from });
            }
            for (key, meaning) in
                [("label", "the pack's word"), ("code", "the coded concept: scheme, value, meaning")]
            {
                if entry[key].is_null() {
                    let whose = label.map_or(String::new(), |l| format!(" of {l}"));
                    self.missing.push((format!("findings[{index}].{key}"), format!("{meaning}{whose}")));
                }
            }
            examples.push(finding(label.map_or("tumour", String::as_str)));
        }
        if self.missing.iter().any(|(key, _)| key.starts_with("findings[")) {
            put(&mut self.example, "findings", examples.into());
        }
        put(&mut self.overread, "findings", findings.into());
        Ok(())
    }

    fn version(&mut self, metadata: &Value) -> Value {
        let bundle = metadata.get("version").map(|v| (v.clone(), "the bundle's version".to_owned()));
        self.fill("version", bundle, "the model's version, as its makers count", "1.0.0".into());
        self.overread.as_object_mut().and_then(|o| o.remove("version")).unwrap_or_default()
    }

    /// Keeps what was stated, else takes what was found, else asks.
    fn fill(&mut self, key: &str, found: Found, meaning: &str, example: Value) {
        if self.get(key).is_some() {
            return;
        }
        match found {
            Some((value, from)) => {
                put(&mut self.overread, key, value.clone());
                self.derived.push(Derived { key: key.into(), value, from });
            }
            None => self.ask(key, meaning, example),
        }
    }

    fn ask(&mut self, key: &str, meaning: &str, example: Value) {
        put(&mut self.example, key, example);
        self.missing.push((key.into(), meaning.into()));
    }

    fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.overread, |at, part| at.get(part)).filter(|value| !value.is_null())
    }
}

fn finding(label: &str) -> Value {
    json!({"label": label, "code": {"scheme": "SCT", "value": "404684003", "meaning": "Clinical finding"}})
}

/// Puts a value under a dotted key; objects on the way are made.
fn put(object: &mut Value, key: &str, value: Value) {
    let place = key.split('.').fold(object, |at, part| {
        if !at.is_object() {
            *at = json!({});
        }
        &mut at[part]
    });
    *place = value;
}

/// Lays one object over another; arrays and plain values are replaced.
fn merge(base: &mut Value, over: &Value) {
    let Some(members) = over.as_object() else {
        if !over.is_null() {
            *base = over.clone();
        }
        return;
    };
    if !base.is_object() {
        *base = json!({});
    }
    for (key, value) in members {
        merge(&mut base[key], value);
    }
}

#[cfg(test)]
mod tests;

//! What a MONAI bundle tells of itself: `network_data_format` of its metadata, and the transforms of its inference configuration.

use serde_json::{Value, json};

use super::{Found, ImportError};

/// A bundle's own words; null where there is no bundle.
pub(super) struct BundleFacts<'a> {
    metadata: &'a Value,
    /// The one image among the inputs.
    input: &'a Value,
    /// The one output.
    output: &'a Value,
    /// The transforms before the network, in their order.
    transforms: Vec<&'a Value>,
}

impl<'a> BundleFacts<'a> {
    /// Reads them.
    pub(super) fn read(metadata: &'a Value, inference: &'a Value) -> Result<Self, ImportError> {
        let format = &metadata["network_data_format"];
        let transforms = inference["preprocessing"]["transforms"].as_array();
        let facts = Self {
            metadata,
            input: only(&format["inputs"]),
            output: only(&format["outputs"]),
            transforms: transforms.into_iter().flatten().filter(|t| t["_target_"].is_string()).collect(),
        };
        match facts.input["spatial_shape"].as_array().map(Vec::len) {
            Some(n) if n != 2 => Err(ImportError::Unsuitable(format!(
                "the bundle's network reads images of {n} dimensions; a pack reads pictures, which have two"
            ))),
            _ => Ok(facts),
        }
    }

    pub(super) fn title(&self) -> Found {
        let key = ["name", "task"].into_iter().find(|key| self.metadata[key].is_string())?;
        Some((self.metadata[key].clone(), format!("the bundle's {key}")))
    }

    pub(super) fn statement(&self) -> Found {
        let statement = self.metadata["intended_use"].as_str()?;
        Some((statement.into(), "the bundle's intended_use".into()))
    }

    /// MONAI writes DICOM's words for some modalities and words of its own for others.
    pub(super) fn modalities(&self) -> Found {
        let modality = self.input["modality"].as_str()?;
        let of_dicom = modality.len() == 2 && modality.bytes().all(|b| b.is_ascii_uppercase());
        of_dicom.then(|| (json!([modality]), "the bundle's inputs, modality".into()))
    }

    pub(super) fn channels(&self) -> Found {
        let count = self.input["num_channels"].as_u64().filter(|n| matches!(n, 1 | 3))?;
        Some((count.into(), "the bundle's inputs, num_channels".into()))
    }

    /// Both sides of a square input. Of others MONAI does not say which comes first: that hangs on the reader.
    pub(super) fn side(&self) -> Found {
        let shape: Vec<u64> =
            self.input["spatial_shape"].as_array()?.iter().filter_map(Value::as_u64).collect();
        match shape[..] {
            [a, b] if a == b => Some((a.into(), "the bundle's inputs, spatial_shape".into())),
            _ => None,
        }
    }

    /// Mean and standard deviation that spread 0 to 1 over the range of values that the network expects.
    pub(super) fn scale(&self, channels: u64) -> Option<((Value, String), (Value, String))> {
        let range: Vec<f64> =
            self.input["value_range"].as_array()?.iter().filter_map(Value::as_f64).collect();
        let [low, high] = range[..] else { return None };
        if low >= high {
            return None;
        }
        let each = |n: f64| json!(vec![n; usize::try_from(channels).unwrap_or(1).min(3)]);
        let from = || format!("the bundle's inputs, value_range {low} to {high}: 0 to 1 is spread over it");
        Some(((each(-low / (high - low)), from()), (each(1.0 / (high - low)), from())))
    }

    /// The window that a transform cuts out and scales to 0 to 1.
    pub(super) fn window(&self) -> Found {
        let scaled = self.transforms.iter().find(|t| name(t).starts_with("ScaleIntensityRange"))?;
        let number = |key: &str| scaled[key].as_f64();
        let (low, high) = (number("a_min")?, number("a_max")?);
        let whole = number("b_min") == Some(0.0) && number("b_max") == Some(1.0) && scaled["clip"] == true;
        (whole && low < high).then(|| {
            let window = json!({"center": f64::midpoint(low, high), "width": high - low});
            (
                json!({"windows": [window]}),
                format!("configs/inference.json, {} from {low} to {high}", name(scaled)),
            )
        })
    }

    /// Labels in the order of the output's channels; empty where they are not all named.
    pub(super) fn labels(&self) -> Vec<String> {
        let Some(channels) = self.output["channel_def"].as_object() else { return vec![] };
        let named = (0..channels.len()).map(|i| Some(channels.get(&i.to_string())?.as_str()?.to_owned()));
        named.collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// What may help whoever states the preprocessing.
    pub(super) fn hints(&self) -> Vec<String> {
        if self.transforms.is_empty() {
            return vec![];
        }
        let shown = self.transforms.iter().map(|t| format!("  {t}"));
        let head =
            "configs/inference.json prepares images by these transforms; preprocessing must do the same:";
        std::iter::once(head.to_owned()).chain(shown).collect()
    }
}

/// A transform's class, without its modules.
fn name(transform: &Value) -> &str {
    let target = transform["_target_"].as_str().unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default()
}

/// The only member of an object; null where there is none, or several.
fn only(object: &Value) -> &Value {
    const NONE: &Value = &Value::Null;
    let members = object.as_object().map(|o| o.values().collect::<Vec<_>>());
    match members.as_deref() {
        Some([one]) => one,
        _ => NONE,
    }
}

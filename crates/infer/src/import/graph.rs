//! What a graph tells of itself: names, sizes, the order of dimensions, what its last operator makes of the numbers.

use serde_json::Value;

use super::{Found, ImportError};
use crate::onnx::{Interface, Port};

/// The facts; each is none where the graph leaves it open.
pub(super) struct GraphFacts {
    input: Option<String>,
    output: Option<String>,
    layout: Option<&'static str>,
    channels: Option<u32>,
    width: Option<u32>,
    height: Option<u32>,
    labels: Option<u32>,
    activation: Option<(&'static str, String)>,
}

impl GraphFacts {
    /// Reads them; `model` is what was stated of input, output and layout.
    pub(super) fn read(interface: &Interface, model: &Value) -> Result<Self, ImportError> {
        let input = chosen(&interface.inputs, &model["input"], "input")?;
        let output = chosen(&interface.outputs, &model["output"], "output")?;
        let mut facts = Self {
            input: input.map(|p| p.name.clone()),
            output: output.map(|p| p.name.clone()),
            layout: None,
            channels: None,
            width: None,
            height: None,
            labels: None,
            activation: output.and_then(|p| p.operator.as_deref()).and_then(activation),
        };
        if let Some((port, shape)) = input.and_then(|p| Some((p, p.shape.as_deref()?))) {
            facts.read_input(&port.name, shape, model["layout"].as_str())?;
        }
        if let Some((port, shape)) = output.and_then(|p| Some((p, p.shape.as_deref()?))) {
            facts.labels = labels(&port.name, shape)?;
        }
        Ok(facts)
    }

    fn read_input(
        &mut self,
        name: &str,
        shape: &[Option<u32>],
        stated: Option<&str>,
    ) -> Result<(), ImportError> {
        let [_, a, b, c] = shape else {
            return unsuitable(format!(
                "input {name} has {} dimensions; a pack reads pictures, so that its input has four (a model of volumes, or of plain \
                 numbers, does not fit)",
                shape.len()
            ));
        };
        let colours = |n: &Option<u32>| matches!(n, Some(1 | 3));
        self.layout = match stated {
            Some("nhwc") => Some("nhwc"),
            Some(_) => Some("nchw"),
            None if colours(a) && !colours(c) => Some("nchw"),
            None if colours(c) && !colours(a) => Some("nhwc"),
            None => None,
        };
        (self.channels, self.height, self.width) = match self.layout {
            Some("nhwc") => (*c, *a, *b),
            Some(_) => (*a, *b, *c),
            None => (None, None, None),
        };
        if let Some(n) = self.channels.filter(|n| !matches!(n, 1 | 3)) {
            return unsuitable(format!(
                "input {name} has {n} channels; a pack gives 1 (grey) or 3 (colour). If that is no count of channels, state model.layout"
            ));
        }
        Ok(())
    }

    pub(super) fn input(&self) -> Found {
        Some((self.input.clone()?.into(), "the graph's one input".into()))
    }

    pub(super) fn output(&self) -> Found {
        Some((self.output.clone()?.into(), "the graph's one output".into()))
    }

    pub(super) fn layout(&self) -> Found {
        Some((self.layout?.into(), "the shape of the graph's input".into()))
    }

    pub(super) fn activation(&self) -> Found {
        let (what, operator) = self.activation.clone()?;
        Some((what.into(), format!("the graph's last operator, {operator}")))
    }

    pub(super) fn channels(&self) -> Found {
        of_shape(self.channels)
    }

    pub(super) fn width(&self) -> Found {
        of_shape(self.width)
    }

    pub(super) fn height(&self) -> Found {
        of_shape(self.height)
    }

    pub(super) fn labels(&self) -> Option<usize> {
        self.labels.and_then(|n| usize::try_from(n).ok())
    }
}

fn of_shape(size: Option<u32>) -> Found {
    Some((size?.into(), "the shape of the graph's input".into()))
}

/// The port that was stated, else the only one; none where there are several.
fn chosen<'a>(ports: &'a [Port], stated: &Value, kind: &str) -> Result<Option<&'a Port>, ImportError> {
    let names = || ports.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
    match (stated.as_str(), ports) {
        (Some(name), _) => match ports.iter().find(|p| p.name == name) {
            Some(port) => Ok(Some(port)),
            None => unsuitable(format!("model.{kind}: the graph has no {kind} {name}; it has {}", names())),
        },
        (None, [one]) => Ok(Some(one)),
        (None, []) => unsuitable(format!("the graph has no {kind}; export it again")),
        (None, _) => Ok(None),
    }
}

fn labels(name: &str, shape: &[Option<u32>]) -> Result<Option<u32>, ImportError> {
    match shape {
        [_, labels] => Ok(*labels),
        _ => unsuitable(format!(
            "output {name} has {} dimensions; a pack needs one number a label for each picture, so that it has two (a model that \
             segments or detects does not fit)",
            shape.len()
        )),
    }
}

fn activation(operator: &str) -> Option<(&'static str, String)> {
    let what = match operator {
        "Softmax" | "Sigmoid" => "probabilities",
        "LogSoftmax" => "softmax-logits",
        _ => return None,
    };
    Some((what, operator.to_owned()))
}

fn unsuitable<T>(why: String) -> Result<T, ImportError> {
    Err(ImportError::Unsuitable(why))
}

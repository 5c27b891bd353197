//! A look into an ONNX graph before it is run: which files it wants, which operators it asks for, what goes in and comes out.
//!
//! Only the few protobuf fields that matter here are declared (onnx.proto3, IR version 3 and later); the rest is skipped.

use std::collections::BTreeSet;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct FunctionProto {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "10")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<SparseTensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
    #[prost(message, optional, tag = "6")]
    g: Option<GraphProto>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphProto>,
    #[prost(message, optional, tag = "22")]
    sparse_tensor: Option<SparseTensorProto>,
    #[prost(message, repeated, tag = "23")]
    sparse_tensors: Vec<SparseTensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct SparseTensorProto {
    #[prost(message, optional, tag = "1")]
    values: Option<TensorProto>,
    #[prost(message, optional, tag = "2")]
    indices: Option<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
}

/// A graph as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it returns.
    pub outputs: Vec<Port>,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its dimensions; none for one of any size. None where the graph does not tell the shape.
    pub shape: Option<Vec<Option<u32>>>,
    /// The operator that makes it, such as `Softmax`; none for an input.
    pub operator: Option<String>,
}

/// The inputs and outputs of a model.
///
/// # Errors
/// Not an ONNX model.
pub fn interface(model: &[u8]) -> Result<Interface, String> {
    let graph = parse(model)?.graph.unwrap_or_default();
    // Up to IR version 3 initializers are listed among the inputs.
    let constant = |name: &str| graph.initializer.iter().any(|t| t.name == name);
    let maker = |name: &str| graph.node.iter().find(|n| n.output.iter().any(|o| o == name));
    let port = |info: &ValueInfoProto| Port {
        name: info.name.clone(),
        shape: info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()?.shape.as_ref()).map(sizes),
        operator: maker(&info.name).map(|node| node.op_type.clone()),
    };
    Ok(Interface {
        inputs: graph.input.iter().filter(|i| !constant(&i.name)).map(port).collect(),
        outputs: graph.output.iter().map(port).collect(),
    })
}

fn sizes(shape: &TensorShapeProto) -> Vec<Option<u32>> {
    let size = |d: &DimensionProto| d.dim_value.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    shape.dim.iter().map(size).collect()
}

fn parse(model: &[u8]) -> Result<ModelProto, String> {
    let model = ModelProto::decode(model)
        .map_err(|e| format!("not an ONNX model ({e}); export it again, or check that the file is whole"))?;
    if model.graph.is_none() {
        return Err("an ONNX model without a graph; export it again".into());
    }
    Ok(model)
}

/// Operator domains that ONNX Runtime brings itself.
const KNOWN_DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// The external-data locations of a model.
///
/// # Errors
/// Not an ONNX model, or one with operators from elsewhere.
pub fn inspect(model: &[u8]) -> Result<BTreeSet<String>, String> {
    let model = parse(model)?;
    let graph = model.graph.unwrap_or_default();
    let mut seen = Seen {
        locations: BTreeSet::new(),
        own_domains: model.functions.iter().map(|f| f.domain.clone()).collect(),
    };
    seen.graph(&graph)?;
    for function in &model.functions {
        seen.nodes(&function.node)?;
    }
    Ok(seen.locations)
}

struct Seen {
    locations: BTreeSet<String>,
    own_domains: BTreeSet<String>,
}

impl Seen {
    fn graph(&mut self, graph: &GraphProto) -> Result<(), String> {
        graph.initializer.iter().for_each(|t| self.tensor(t));
        graph.sparse_initializer.iter().for_each(|t| self.sparse(t));
        self.nodes(&graph.node)
    }

    fn nodes(&mut self, nodes: &[NodeProto]) -> Result<(), String> {
        for node in nodes {
            if !KNOWN_DOMAINS.contains(&node.domain.as_str()) && !self.own_domains.contains(&node.domain) {
                return Err(format!(
                    "operator {} of domain {} needs a custom-op library, and packs may not bring code; export the graph with standard operators",
                    node.op_type, node.domain
                ));
            }
            for attribute in &node.attribute {
                attribute.t.iter().chain(&attribute.tensors).for_each(|t| self.tensor(t));
                attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors).for_each(|t| self.sparse(t));
                attribute.g.iter().chain(&attribute.graphs).try_for_each(|g| self.graph(g))?;
            }
        }
        Ok(())
    }

    fn sparse(&mut self, tensor: &SparseTensorProto) {
        tensor.values.iter().chain(&tensor.indices).for_each(|t| self.tensor(t));
    }

    fn tensor(&mut self, tensor: &TensorProto) {
        let locations = tensor.external_data.iter().filter(|e| e.key == "location");
        self.locations.extend(locations.map(|e| e.value.clone()));
    }
}

/// The path inside the pack of an external-data location, seen from the graph's folder.
///
/// # Errors
/// Anything but plain names joined by slashes: absolute paths, `..`, drive letters.
pub fn inside(folder: &str, location: &str) -> Result<String, String> {
    let plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', ':', '\0']);
    if !location.split('/').all(plain) {
        return Err(format!(
            "its external data lies at {location:?}, which is not inside the pack; keep the weights beside the graph"
        ));
    }
    Ok(if folder.is_empty() { location.to_owned() } else { format!("{folder}/{location}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(domain: &str, location: &str) -> Vec<u8> {
        let entry = StringStringEntryProto { key: "location".into(), value: location.into() };
        let tensor = TensorProto { external_data: vec![entry], ..Default::default() };
        // The tensor hides in a subgraph of an attribute.
        let inner = GraphProto { initializer: vec![tensor], ..Default::default() };
        let attribute = AttributeProto { g: Some(inner), ..Default::default() };
        let node = NodeProto {
            op_type: "If".into(),
            domain: domain.into(),
            attribute: vec![attribute],
            ..Default::default()
        };
        let graph = GraphProto { node: vec![node], ..Default::default() };
        ModelProto { graph: Some(graph), functions: vec![] }.encode_to_vec()
    }

    #[test]
    fn external_data_is_found_in_subgraphs() {
        let found = inspect(&model("", "weights.bin")).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["weights.bin"]);
    }

    #[test]
    fn foreign_operators_are_refused_by_name() {
        let why = inspect(&model("evil.ops", "weights.bin")).unwrap_err();
        assert!(why.contains("evil.ops") && why.contains("If"), "{why}");
    }

    #[test]
    fn locations_stay_inside() {
        assert_eq!(inside("models", "weights.bin").unwrap(), "models/weights.bin");
        for bad in ["/etc/passwd", "../x", "a/../../x", "C:\\x", "", "a//b", "./x"] {
            assert!(inside("models", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_interface_is_what_the_graph_takes_and_returns() {
        let model = include_bytes!("../../../tests/packs/centre/models/model.onnx");
        let Interface { inputs, outputs } = interface(model).unwrap();
        assert_eq!(inputs.len(), 1, "constants are no inputs");
        assert_eq!(inputs[0].name, "image");
        assert_eq!(inputs[0].shape, Some(vec![None, Some(1), Some(32), Some(32)]));
        assert_eq!(outputs[0].shape, Some(vec![None, Some(2)]));
        assert_eq!(outputs[0].operator.as_deref(), Some("Concat"));
    }

    #[test]
    fn nonsense_is_no_model() {
        assert!(inspect(b"this is a text, not a protobuf").is_err());
        assert!(inspect(b"").is_err());
    }
}

//! Packs: a model as files, and everything between a picture and its findings.
//!
//! In reading order: [`manifest`] is what a pack says of itself, [`pack`] opens one and names its edition,
//! [`import`] drafts the manifest of somebody else's model, [`trust`] tells whose packs count, [`onnx`] looks into a graph before it is run, [`preprocess`] makes a
//! tensor of a picture, [`engine`] runs it ([`graph`] runs a graph without a pack), [`aggregation`] makes one answer of many pictures, [`calibration`], [`abstention`] and [`explain`] turn outputs into
//! findings a person can weigh, [`faithfulness`] tests an explanation.
//!
//! No DICOM, no HTTP, no databases, no patients.

pub mod abstention;
pub mod aggregation;
pub mod calibration;
pub mod engine;
mod error;
pub mod explain;
pub mod faithfulness;
pub mod graph;
pub mod head;
pub mod import;
pub mod manifest;
pub mod onnx;
pub mod pack;
pub mod preprocess;
pub mod quality;
pub mod runtime;
pub mod trust;

pub use engine::{Engine, ImageOutput};
pub use error::InferError;
pub use graph::Graph;
pub use manifest::Manifest;
pub use pack::Pack;
pub use preprocess::Tensor;
pub use runtime::Runtime;
pub use trust::{Standing, TrustList};

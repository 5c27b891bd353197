//! What the command line takes, and the help that teaches it.

mod images;
mod looks;
mod numbers;
mod packs;
mod reading;
mod roles;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::images::{DeidArgs, PictureKind, PictureSide, WrapArgs};
pub use self::looks::{AuditCommand, JobsCommand, Look, ProgramCommand, StudyCommand};
pub use self::packs::PackCommand;
pub use self::reading::{ClassifyArgs, Document, ValidateArgs};
pub use self::roles::{
    ClientCommand, ClientPlace, ConfigArgs, DoctorArgs, EnrolArgs, RoleArgs, TokenCommand, TokenPlace,
};

/// A second reading of medical images: findings with calibrated probabilities, explanations and standard reports.
/// Not for clinical use without local validation.
#[derive(Parser)]
#[command(name = "overread", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub shared: Shared,
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands share.
#[derive(Args)]
pub struct Shared {
    /// Folder with packs, one a subfolder. May be given several times.
    /// Default: `packs` beside the binary, then the user's own (`~/.local/share/overread/packs`).
    #[arg(long, global = true, env = "OVERREAD_PACKS", value_delimiter = ':', value_name = "DIR")]
    pub packs: Vec<PathBuf>,
    /// Trust list (TOML) with the public keys whose packs count, instead of the built-in one.
    #[arg(long, global = true, env = "OVERREAD_TRUST", value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// The ONNX Runtime library. Default: beside the binary, then `../lib`.
    #[arg(long, global = true, env = "OVERREAD_ONNXRUNTIME", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Read studies: DICOM files, photographs, or folders of them.
    Classify(ClassifyArgs),
    /// Check a pack on your own labelled cases: figures with intervals, a page to look at, a record for the service.
    Validate(ValidateArgs),
    /// Run both roles beside a PACS: images in over DICOM and DICOMweb, results back. Two processes, one configuration.
    All(RoleArgs),
    /// Run the hospital's role alone.
    Edge(RoleArgs),
    /// Run the reader's role alone.
    Service(RoleArgs),
    /// Examine an installation, running or not: says which side is misconfigured and which line to change.
    Doctor(DoctorArgs),
    /// Show how the running roles are.
    Status(Look),
    /// List the edge's studies, or show what left of one and what came back.
    #[command(subcommand)]
    Study(StudyCommand),
    /// List durable jobs, or give dead letters another try.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Look at the audit log, or verify it.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make, list and revoke API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Change the master key of the edge's vault.
    #[command(subcommand)]
    Vault(crate::vault::VaultCommand),
    /// Erase a patient from the edge and its service.
    #[command(subcommand)]
    Patient(crate::vault::PatientCommand),
    /// Let edges of other machines come to this service: make clients and one-time codes, list and revoke edges.
    #[command(subcommand)]
    Client(ClientCommand),
    /// Enrol this edge at a service on another machine, with a code that the service made.
    Enrol(EnrolArgs),
    /// Print the configuration as it takes effect: every key, defaults too, secrets masked.
    Config(ConfigArgs),
    /// List the service's programs, or change how one's results are released.
    #[command(subcommand)]
    Program(ProgramCommand),
    /// List, look at, check, import and sign packs.
    #[command(subcommand)]
    Pack(PackCommand),
    /// De-identify DICOM files by a profile of PS3.15 Annex E.
    Deid(DeidArgs),
    /// Wrap pictures (JPEG, PNG, TIFF, WebP) or whole slides (SVS, NDPI, MRXS, SCN, tiled TIFF) as DICOM.
    Wrap(WrapArgs),
    /// Print the JSON Schema of a result, or of a validation's record.
    Schema {
        /// Of what.
        #[arg(value_enum, default_value = "result")]
        of: Document,
    },
}

impl Command {
    /// The name under which traces are collected.
    pub const fn service_name(&self) -> &'static str {
        match self {
            Self::Edge(_) => "overread-edge",
            Self::Service(_) => "overread-service",
            _ => "overread",
        }
    }

    /// What is logged where nobody says otherwise: roles tell what they do, commands only what goes wrong.
    pub const fn default_log(&self) -> &'static str {
        match self {
            Self::All(_) | Self::Edge(_) | Self::Service(_) => "info",
            _ => "warn",
        }
    }
}

/// How lists are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lines {
    /// For people.
    Text,
    /// JSON.
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Text,
    /// One JSON array.
    Json,
    /// One JSON object a line, in input order, as soon as each is ready.
    Jsonl,
}

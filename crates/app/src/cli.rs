//! What the command line takes, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use overread_domain::Probability;
use overread_http::Scope;

use crate::ask::{Reach, Role};

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

/// Exit status: 0, every study was answered (`not-assessed` is an answer); 1, nothing could be done; 2, the command
/// line is wrong; 3, some studies failed and the others were answered.
#[derive(Args)]
#[command(after_help = "Examples:
  overread classify chest.dcm
  overread classify studies/ --program cxr-pneumonia --prevalence 0.1 --out results/
  overread classify photos/*.jpeg --format jsonl > results.jsonl

Exit status: 0 every study was answered (\"not assessed\" is an answer); 1 nothing could be done;
2 the command line is wrong; 3 some studies failed, the others were answered.")]
pub struct ClassifyArgs {
    /// Files and folders. DICOM files are joined to studies by their Study Instance UID; each photograph is a study.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Read under this program only. Default: under each program whose intended use a study fits.
    #[arg(long, value_name = "NAME")]
    pub program: Vec<String>,
    /// Read with the pack in this folder, whatever the pack folders hold.
    #[arg(long, value_name = "DIR", conflicts_with = "program")]
    pub pack: Vec<PathBuf>,
    /// State probabilities at this prevalence of the finding, your own. Default: that of the pack's calibration.
    #[arg(long, value_name = "P", value_parser = prevalence)]
    pub prevalence: Option<Probability>,
    /// Write overlays, secondary captures, structured reports, results.jsonl and a page to look at into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Leave explanations out.
    #[arg(long)]
    pub no_explain: bool,
    /// Test each explanation (deletion curve against random and centre maps). Slow: some eighty passes a finding.
    #[arg(long, conflicts_with = "no_explain")]
    pub faithfulness: bool,
    /// Decode every image in full, even where the pack needs less.
    #[arg(long)]
    pub full_decode: bool,
    /// Add to each result where the time went.
    #[arg(long)]
    pub timings: bool,
    /// Threads that read. Default: as many as there are cores.
    #[arg(long, value_name = "N", env = "OVERREAD_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Also use packs that are not signed by a key of the trust list.
    #[arg(long)]
    pub allow_untrusted: bool,
}

/// What has a JSON Schema.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// `overread.result/1`, which `overread classify` prints.
    Result,
    /// `overread.validation/1`, which `overread validate` writes.
    Validation,
}

impl Document {
    /// The schema.
    pub fn schema(self) -> serde_json::Value {
        match self {
            Self::Result => overread_read::result::json_schema(),
            Self::Validation => overread_learn::json_schema(),
        }
    }
}

/// Check a pack on your own labelled cases. The figures are of these cases and of no others.
#[derive(Args)]
#[command(
    after_help = "labels.csv has a column `file` (paths below DIR) and a column for each finding: named like it with 0 and 1, or named by --finding.

Examples:
  overread validate chest/ --labels chest/labels.csv --program cxr-pneumonia --group patient --out validation/
  overread validate chest/ --labels l.csv --program cxr-pneumonia --finding pneumonia=label:pneumonia --subgroup sex,age,scanner
  overread validate chest/ --labels l.csv --program cxr-pneumonia --prevalence 0.05 --studies-a-day 80 --at 0.3
  overread classify chest/ --program cxr-pneumonia --format jsonl > results.jsonl
  overread validate --results results.jsonl --labels l.csv --out validation/
  overread program mode cxr-pneumonia review-all --reason \"validated on our own cases\" --validation validation/validation.json

Exit status: 0 the figures were computed; 1 they could not be, standard error says why; 2 the command line is wrong."
)]
pub struct ValidateArgs {
    /// Folder in which the label file's files lie.
    #[arg(value_name = "DIR", required_unless_present = "results", conflicts_with = "results")]
    pub folder: Option<PathBuf>,
    /// Instead of reading: JSON lines that `overread classify --format jsonl` printed, or results.jsonl of an earlier validation.
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// The results are of several editions, each on cases it had not seen: a recipe is validated, no edition. The record lifts no program out of shadow.
    #[arg(long, requires = "results")]
    pub cross_validated: bool,
    /// The label file (CSV, UTF-8, with a header).
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// The program to validate.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["pack", "results"])]
    pub program: Option<String>,
    /// The pack in this folder, whatever the pack folders hold.
    #[arg(long, value_name = "DIR")]
    pub pack: Option<PathBuf>,
    /// Column by which files are joined to cases, such as `patient`: each case is read as one study, and positive if one of its files is.
    /// Default: each file, or each study of the results, is a case.
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// Columns by which figures are broken down; a column of ages in years becomes decades.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub subgroup: Vec<String>,
    /// Which column says whether a finding is there: FINDING=COLUMN (0 or 1), or FINDING=COLUMN:VALUE. May be given several times.
    /// Default: the columns that are named like findings.
    #[arg(long, value_name = "FINDING=COLUMN[:VALUE]")]
    pub finding: Vec<String>,
    /// Only rows with this value, such as split=test. May be given several times; all must hold.
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub rows: Vec<String>,
    /// Only files of one part of a split: a CSV with the columns `file` and `split`; its other columns count too.
    #[arg(long, value_name = "FILE", requires = "part")]
    pub split: Option<PathBuf>,
    /// Which part of the split.
    #[arg(long, value_name = "NAME", requires = "split")]
    pub part: Option<String>,
    /// The finding's prevalence among your own studies, for predictive values and alerts. Default: that of the cases.
    #[arg(long, value_name = "P", value_parser = prevalence)]
    pub prevalence: Option<Probability>,
    /// A threshold to look at beside the pack's own: a probability at that prevalence.
    #[arg(long, value_name = "P", value_parser = threshold)]
    pub at: Option<f64>,
    /// How many studies you would send a day: the page then says how many alerts each threshold makes.
    #[arg(long, value_name = "N", value_parser = studies)]
    pub studies_a_day: Option<f64>,
    /// Another edition on the same cases: a pack's folder, or the results of another run.
    #[arg(long, value_name = "PATH")]
    pub compare: Option<PathBuf>,
    /// Write validation.json, index.html and results.jsonl into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How the figures are printed.
    #[arg(long, value_enum, default_value_t = Lines::Text)]
    pub format: Lines,
    /// Threads that read. Default: as many as there are cores.
    #[arg(long, value_name = "N", env = "OVERREAD_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Also use packs that are not signed by a key of the trust list.
    #[arg(long)]
    pub allow_untrusted: bool,
}

/// De-identify DICOM files by a profile: headers, and text that is burned into pixels; what goes out is looked at a second time.
#[derive(Args)]
#[command(after_help = "Examples:
  overread deid studies/ --out shared/ --report report.json
  overread deid studies/ --profile radiology --key pseudonym.key --out shared/

Objects are written as STUDY/SERIES/INSTANCE.dcm under pseudonymous UIDs. What the second looks find in the bytes or read in the
pixels, and pixels that cannot be cleaned, are quarantined: nothing of them is written, and the report says why. Removing text needs
ONNX Runtime, reading pixels again needs Tesseract.

Exit status: 0 every file was written; 1 nothing could be done; 2 the command line is wrong;
3 some files were quarantined or failed, the others were written.")]
pub struct DeidArgs {
    /// DICOM files and folders of them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// A built-in profile (strict, radiology, ct-mr-head, pathology, ophthalmology, dermatology, cardiology) or a TOML file.
    #[arg(long, default_value = "strict", value_name = "PROFILE")]
    pub profile: String,
    /// Folder for the de-identified objects.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write what was done with each file into this file. It holds the originals' paths: it is for the site alone.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The secret that pseudonyms and moved dates hang on; made where it is missing. Default: another one in each run, so
    /// that no later run can be linked to this one.
    #[arg(long, env = "OVERREAD_DEID_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Text in the pixels of these files has been looked for and removed already: they say so, and nothing looks at them.
    #[arg(long)]
    pub pixels_cleaned: bool,
    /// Do not have Tesseract read what goes out.
    #[arg(long)]
    pub no_second_look: bool,
    /// Threads. Default: as many as there are cores.
    #[arg(long, value_name = "N", env = "OVERREAD_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
}

/// A role's start.
#[derive(Args)]
#[command(
    after_help = "The configuration is overread.toml here, else /etc/overread/overread.toml; every key is also a variable,
such as OVERREAD_EDGE__DIMSE__BIND. All doors open on 127.0.0.1 until told otherwise:
DICOM 11112 (AE title OVERREAD), edge HTTP 8080, service HTTP 8081."
)]
pub struct RoleArgs {
    /// Configuration file (TOML); `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also use packs that are not signed by a key of the trust list.
    #[arg(long)]
    pub allow_untrusted: bool,
}

#[derive(Subcommand)]
pub enum ProgramCommand {
    /// List programs and their release modes.
    Ls {
        #[command(flatten)]
        reach: Reach,
    },
    /// Change a program's release mode: `shadow` keeps results, `review-all` sends each, preliminary and unverified.
    Mode {
        /// The program.
        name: String,
        /// The mode.
        mode: String,
        /// Why; it is audited.
        #[arg(long)]
        reason: String,
        /// The record of a validation on local cases: validation.json, which `overread validate --out` wrote for this program and edition.
        #[arg(long, value_name = "FILE")]
        validation: Option<PathBuf>,
        #[command(flatten)]
        reach: Reach,
    },
}

/// A look at the running roles.
#[derive(Args)]
pub struct Look {
    /// Ask this role alone. Default: both, or the edge where an address is named.
    #[arg(long, value_enum)]
    pub role: Option<Role>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Lines::Text)]
    pub format: Lines,
    #[command(flatten)]
    pub reach: Reach,
}

#[derive(Subcommand)]
pub enum StudyCommand {
    /// List studies, the latest first.
    Ls {
        /// In this state alone, such as `held` or `quarantined`.
        #[arg(long, value_parser = word)]
        state: Option<String>,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t = Lines::Text)]
        format: Lines,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show what left of a study, with the SHA-256 of all that was sent and what was done to it before, and what came back.
    Manifest {
        /// Our own id of the study, as `study ls` shows it.
        #[arg(value_parser = word)]
        id: String,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t = Lines::Text)]
        format: Lines,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Subcommand)]
pub enum JobsCommand {
    /// List jobs: what waits, runs, or is a dead letter that somebody must look at.
    Ls {
        /// Of this state alone: waiting, running, dead.
        #[arg(long, value_parser = ["waiting", "running", "dead"])]
        state: Option<String>,
        /// Of this kind alone, such as `send` or `deliver:pacs`.
        #[arg(long, value_parser = word)]
        kind: Option<String>,
        #[command(flatten)]
        look: Look,
    },
    /// Give dead letters another try.
    Requeue {
        /// The job's number.
        #[arg(conflicts_with = "dead")]
        id: Option<i64>,
        /// All dead letters.
        #[arg(long)]
        dead: bool,
        /// Whose job it is.
        #[arg(long, value_enum, default_value = "edge")]
        role: Role,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Verify the hash chain from its first entry to its last. Status 1 if it is broken.
    Verify(Look),
    /// List entries.
    Ls {
        /// Whose log.
        #[arg(long, value_enum, default_value = "edge")]
        role: Role,
        /// Entries after this number.
        #[arg(long, default_value_t = 0, value_name = "N")]
        after: u32,
        /// At most so many, 1 to 1000.
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t = Lines::Text)]
        format: Lines,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is printed once.
    New {
        /// Whose it is: the actor in the audit log.
        name: String,
        /// What it may do: read (look), operate (change how things run), store (send images). May be given several times.
        #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE")]
        scope: Vec<Scope>,
        #[command(flatten)]
        place: TokenPlace,
    },
    /// List tokens, without their secrets.
    Ls {
        /// How it is printed.
        #[arg(long, value_enum, default_value_t = Lines::Text)]
        format: Lines,
        #[command(flatten)]
        place: TokenPlace,
    },
    /// Revoke a token from the next request on.
    Revoke {
        /// The token's id.
        id: String,
        #[command(flatten)]
        place: TokenPlace,
    },
}

/// Whose tokens. The command works on the role's database itself, so it runs where the role runs.
#[derive(Args)]
pub struct TokenPlace {
    /// Whose door the token opens.
    #[arg(long, value_enum, default_value = "edge")]
    pub role: Role,
    /// Configuration file, in which the database is.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The commands work on the service's database itself, so they run where the service runs.
#[derive(Subcommand)]
pub enum ClientCommand {
    /// Make a client: whoever sends studies, with one edge or several.
    Add {
        /// Its name: 1 to 32 lower-case letters, digits and hyphens.
        name: String,
        #[command(flatten)]
        place: ClientPlace,
    },
    /// List clients and their edges.
    Ls {
        /// How it is printed.
        #[arg(long, value_enum, default_value_t = Lines::Text)]
        format: Lines,
        #[command(flatten)]
        place: ClientPlace,
    },
    /// Make a one-time code with which one edge can enrol; it is printed once.
    Code {
        /// The client.
        name: String,
        /// Hours for which it can be used.
        #[arg(long, default_value_t = 24, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=720))]
        hours: u32,
        #[command(flatten)]
        place: ClientPlace,
    },
    /// Revoke an edge from its next request on.
    Revoke {
        /// The edge's id, as `overread client ls` prints it.
        edge: String,
        #[command(flatten)]
        place: ClientPlace,
    },
}

/// Which service.
#[derive(Args)]
pub struct ClientPlace {
    /// Configuration file, in which the service's database and data folder are.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What `overread enrol` takes.
#[derive(Args)]
#[command(after_help = "Examples:
  overread enrol --url https://reader.example:8443 ove_…
  overread enrol --url https://reader.example:8443 - < code.txt

The edge's key is made here and never leaves. The code says which service to trust. Broken off, the command can be repeated
with the same code. Then write url = \"https://reader.example:8443\" below [link], without a token.")]
pub struct EnrolArgs {
    /// The code that `overread client code` printed; `-` reads it from standard input, where no other user can see it.
    pub code: String,
    /// The service's address. Default: `link.url` of the configuration.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// How people at the service shall call this edge. Default: the machine's name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Enrol again, although this edge has a certificate: the old one is replaced.
    #[arg(long)]
    pub again: bool,
    /// Configuration file, in which the edge's data folder is.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What `overread config` takes.
#[derive(Args)]
pub struct ConfigArgs {
    /// Configuration file; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What `overread doctor` takes.
#[derive(Args)]
#[command(
    after_help = "It asks each destination for C-ECHO and whether it takes reports, tries the doors, the link, TLS files, disk, clock, packs and ONNX Runtime,
and changes nothing, unless --test-store sends a test picture. Exit status: 0 nothing failed; 1 something did."
)]
pub struct DoctorArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Examine this role alone.
    #[arg(long, value_enum)]
    pub role: Option<Role>,
    /// Also store a test picture (Patient ID OVERREAD-TEST) at each destination; it stays there until you delete it.
    #[arg(long)]
    pub test_store: bool,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Lines::Text)]
    pub format: Lines,
}

/// How lists are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lines {
    /// For people.
    Text,
    /// JSON.
    Json,
}

/// A word that can stand in an address as it is.
fn word(text: &str) -> Result<String, String> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "-:".contains(c)) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, hyphens and colons".into())
    }
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

#[derive(Subcommand)]
pub enum PackCommand {
    /// List the packs that are found.
    Ls {
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show what a pack says of itself, and its model card.
    Show {
        /// Name of the pack, or its folder.
        pack: String,
    },
    /// Check a pack: files, hashes, signature, graphs, tensors; load it and run it once.
    Verify {
        /// Name of the pack, or its folder.
        pack: String,
    },
    /// Check a pack and copy it into the user's pack folder; or, with --out, make a pack of somebody else's model.
    #[command(after_help = "Examples:
  overread pack import downloads/cxr-pneumonia
  overread pack import model.onnx --manifest manifest.json --out packs/brain-mri
  overread pack import some_monai_bundle/ --manifest manifest.json --out packs/some

The manifest holds what neither graph nor bundle tells; without one the command says which keys it needs, with an example.")]
    Import {
        /// The pack's folder; or a MONAI bundle's folder, or an ONNX file.
        #[arg(value_name = "SOURCE")]
        source: PathBuf,
        /// What is to be known of the model (JSON): the keys under `overread`, see docs/packs.md.
        #[arg(long, value_name = "FILE", requires = "out")]
        manifest: Option<PathBuf>,
        /// Make a pack of the model in this new folder.
        #[arg(long, value_name = "DIR", conflicts_with = "to")]
        out: Option<PathBuf>,
        /// Where to, instead of the user's own pack folder.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Also take packs that are not signed by a key of the trust list.
        #[arg(long)]
        allow_untrusted: bool,
    },
    /// Make a signing key: writes the private half to a file, prints the public half for trust lists.
    Keygen {
        /// File for the private half; must not exist.
        file: PathBuf,
    },
    /// Sign a pack.
    Sign {
        /// The pack's folder.
        folder: PathBuf,
        /// File with the private half of the key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}

/// Wrap pictures as DICOM images without any patient. A radiograph becomes a DX image where the spacing at the detector is known, else a CR
/// image, which asks for none; a slide of a scanner's own format becomes a whole slide of several resolutions, JPEG of quality 90, without its label and
/// overview and without anything that the file says in words.
#[derive(Args)]
pub struct WrapArgs {
    /// The pictures (JPEG, PNG, TIFF, WebP) or slides (SVS, NDPI, MRXS, SCN, tiled TIFF). Several become images of one study: two eyes, three
    /// photographs of one lesion, the slides of one block.
    #[arg(required = true, value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    /// The DICOM file to write; of several pictures the folder for `1.dcm`, `2.dcm` and so on. Of a slide the folder for its levels, `1.dcm` the
    /// finest; of several slides the folder for such folders, `1`, `2` and so on.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// What the pictures show; a radiograph is turned to grey.
    #[arg(long, value_enum, default_value = "radiograph")]
    pub kind: PictureKind,
    /// The side that the pictures show: one for all, or one each in their order, such as R,L. A picture of an eye needs it.
    #[arg(long, value_enum, value_delimiter = ',', ignore_case = true, value_name = "SIDE")]
    pub laterality: Vec<PictureSide>,
    /// Body Part Examined (0018,0015); CHEST of a radiograph where it is not said.
    #[arg(long, value_name = "PART")]
    pub body_part: Option<String>,
    /// View Position (0018,5101), such as PA.
    #[arg(long, value_name = "VIEW")]
    pub view: Option<String>,
    /// You looked: no text in the pixels tells who the patient is (Burned In Annotation (0028,0301) NO). A DX image says YES otherwise, and an edge
    /// quarantines it where it finds no text to remove.
    #[arg(long)]
    pub nothing_burned_in: bool,
    /// Imager Pixel Spacing (0018,1164): millimetres between pixels at the detector. Makes it a DX image.
    #[arg(long, value_name = "MM", value_parser = millimetres)]
    pub imager_pixel_spacing: Option<f64>,
    /// Micrometres between pixels at the full resolution of a slide that does not tell it, or tells it wrongly.
    #[arg(long, value_name = "UM", value_parser = micrometres)]
    pub microns_per_pixel: Option<f64>,
}

/// What a picture shows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PictureKind {
    /// A radiograph that was exported, scanned or photographed
    Radiograph,
    /// An eye, taken from outside
    Eye,
    /// Skin or anything else that is seen
    Skin,
    /// A whole slide in the format of a scanner's maker
    Slide,
}

/// A side of the body.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PictureSide {
    /// Right
    R,
    /// Left
    L,
}

fn millimetres(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number < 100.0 {
        Ok(number)
    } else {
        Err("a spacing lies above 0 and below 100 mm".into())
    }
}

fn micrometres(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number < 100.0 {
        Ok(number)
    } else {
        Err("a pixel of a slide is more than 0 and less than 100 µm".into())
    }
}

fn threshold(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("a threshold lies between 0 and 1".into()) }
}

fn studies(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err("a number of studies above 0".into()) }
}

fn prevalence(text: &str) -> Result<Probability, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number <= 0.0 || number >= 1.0 {
        return Err("a prevalence lies between 0 and 1, such as 0.1 for 10%".into());
    }
    Probability::new(number).map_err(|e| e.to_string())
}

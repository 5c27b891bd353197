//! The roles, and what is done where one runs: its configuration, who may come in, its health.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use overread_http::Scope;

use super::Lines;
use crate::ask::Role;

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

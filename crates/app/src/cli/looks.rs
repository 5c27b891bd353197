//! Looking at the running roles, and turning their knobs, from wherever they can be reached.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Lines;
use crate::ask::{Reach, Role};

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

/// A word that can stand in an address as it is.
fn word(text: &str) -> Result<String, String> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "-:".contains(c)) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, hyphens and colons".into())
    }
}

//! `overread vault` and `overread patient`: the master key of an edge's vault, and erasure of a patient.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use overread_domain::Clock;
use serde_json::json;

use crate::ask::{Reach, Role};
use crate::config::Config;
use crate::table;

#[derive(Subcommand)]
pub enum VaultCommand {
    /// Wrap every patient's key under another master key. Where the key lies in the key file, a new one is made; it may run beside the edge, and run again.
    Rotate {
        /// Configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub enum PatientCommand {
    /// Erase a patient: destroy their key, remove what it sealed, make the service forget. The Patient ID comes from standard input, so that it stands in no list
    /// of processes and no shell's history.
    Erase {
        /// Issuer of Patient ID (0010,0021), where the images have one.
        #[arg(long, default_value = "", value_name = "ISSUER")]
        issuer: String,
        /// Why; it is audited, and names nobody.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        reach: Reach,
    },
}

/// Works on the vault itself, so it runs where the edge runs.
pub async fn vault(command: &VaultCommand) -> Result<ExitCode> {
    let VaultCommand::Rotate { config } = command;
    let edge: overread_edge::Config = Config::read(config.as_deref())?.section("edge")?;
    let rotated = overread_edge::vault::rotate(&edge, &Clock::machine()).await?;
    table::print_line(&json!({ "master": rotated.master, "rewrapped": rotated.rewrapped }))?;
    if let Some(remains) = rotated.remains {
        table::remark(&format!("What remains to be done: {remains}."));
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn patient(command: &PatientCommand) -> Result<ExitCode> {
    let PatientCommand::Erase { issuer, reason, reach } = command;
    let id = patient_id()?;
    let body = json!({ "patient_id": id, "issuer": issuer, "reason": reason });
    let path = "/api/v1/patients/erase";
    let said = reach.door(Role::Edge)?.ask(reqwest::Method::POST, path, Some(body)).await?;
    table::print_json(&said)?;
    table::remark(
        "Their key is destroyed. Rows, objects and the service follow: `overread jobs ls` shows `erase` and `forget` until they are done.",
    );
    Ok(ExitCode::SUCCESS)
}

/// One line of standard input; a person is asked for it.
fn patient_id() -> Result<String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let mut screen = std::io::stderr();
        write!(screen, "Patient ID: ").and_then(|()| screen.flush()).context("asking for the Patient ID")?;
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).context("reading the Patient ID from standard input")?;
    let id = line.trim();
    if id.is_empty() {
        bail!(
            "there is no Patient ID on standard input: echo it into this command, or type it when it is asked for"
        );
    }
    Ok(id.to_owned())
}

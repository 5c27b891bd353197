//! `overread study`: the edge's studies, and the record of what left and what came back.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::ask::Role;
use crate::cli::{Lines, StudyCommand};
use crate::table;

/// Asks the edge.
pub async fn run(command: &StudyCommand) -> Result<ExitCode> {
    match command {
        StudyCommand::Ls { state, format, reach } => {
            let only = state.as_ref().map(|state| format!("&state={state}")).unwrap_or_default();
            let all = reach.door(Role::Edge)?.get(&format!("/api/v1/studies?limit=1000{only}")).await?;
            let rows = all.as_array().cloned().unwrap_or_default();
            match format {
                Lines::Json => table::print_json(&all)?,
                Lines::Text if rows.is_empty() => table::print("no studies")?,
                Lines::Text => {
                    let names = ["id", "state", "version", "program", "last_at", "results", "reason"];
                    table::print(&table::columns(&names, &rows))?;
                }
            }
        }
        StudyCommand::Manifest { id, format, reach } => {
            let record = reach.door(Role::Edge)?.get(&format!("/api/v1/studies/{id}/manifest")).await?;
            match format {
                Lines::Json => table::print_json(&record)?,
                Lines::Text => show(&record)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(record: &Value) -> Result<()> {
    for sent in members(&record["sent"]) {
        let images = members(&sent["manifest"]["instances"]);
        let bytes: u64 = images.iter().filter_map(|i| i["bytes"].as_u64()).sum();
        let (count, digest) = (images.len(), sent["digest"].as_str().unwrap_or_default());
        table::print(&format!(
            "version {} left: {count} images, {bytes} bytes, manifest {digest}",
            sent["version"]
        ))?;
        table::print(&table::columns(&["instance", "bytes", "sha256"], images))?;
        let changes = members(&sent["changes"]);
        if !changes.is_empty() {
            table::print("what was done before:")?;
            table::print(&table::columns(&["what", "action", "images"], changes))?;
        }
    }
    let returned = members(&record["returned"]);
    if returned.is_empty() {
        return table::print("nothing came back yet");
    }
    let rows: Vec<Value> = returned.iter().map(row).collect();
    table::print("what came back:")?;
    table::print(&table::columns(
        &["program", "case_version", "study_version", "answer", "state", "received_at", "digest"],
        &rows,
    ))
}

/// A result with its decisions in words.
fn row(result: &Value) -> Value {
    let mut row = result.clone();
    let decisions = result["decisions"].as_object().into_iter().flatten();
    let words: Vec<String> =
        decisions.map(|(label, d)| format!("{label} {}", d.as_str().unwrap_or_default())).collect();
    row["answer"] = json!(if words.is_empty() { "not assessed".to_owned() } else { words.join(", ") });
    row
}

fn members(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

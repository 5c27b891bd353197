//! `overread status`, `jobs`, `audit` and `program`: what a running installation does, and what a person changes in it.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::ask::{Door, Role};
use crate::cli::{AuditCommand, JobsCommand, Lines, Look, ProgramCommand};
use crate::table;

/// How both roles are.
pub async fn status(look: &Look) -> Result<ExitCode> {
    let mut all = serde_json::Map::new();
    let mut away = 0;
    for role in look.roles() {
        match look.reach.door(role)?.get("/api/v1/status").await {
            Ok(said) => drop(all.insert(role.as_str().into(), said)),
            Err(e) => {
                away += 1;
                table::complain(&e);
            }
        }
    }
    match look.format {
        Lines::Json => table::print_json(&Value::Object(all))?,
        Lines::Text => {
            for (role, said) in &all {
                table::print(&format!("{role} {}", said["version"].as_str().unwrap_or_default()))?;
                table::print(&table::pairs(said))?;
            }
        }
    }
    Ok(if away == 0 { ExitCode::SUCCESS } else { ExitCode::from(crate::CANNOT) })
}

impl Look {
    /// One role if an address or a role is named, else both.
    fn roles(&self) -> Vec<Role> {
        match self.role {
            Some(role) => vec![role],
            None if self.reach.url.is_some() => vec![Role::Edge],
            None => Role::ALL.to_vec(),
        }
    }
}

/// Durable jobs.
pub async fn jobs(command: &JobsCommand) -> Result<ExitCode> {
    match command {
        JobsCommand::Ls { state, kind, look } => {
            let mut all = Vec::new();
            for role in look.roles() {
                let door = look.reach.door(role)?;
                all.extend(jobs_of(&door, role, state.as_deref(), kind.as_deref()).await?);
            }
            match look.format {
                Lines::Json => table::print_json(&Value::Array(all))?,
                Lines::Text if all.is_empty() => table::print("no jobs")?,
                Lines::Text => table::print(&table::columns(
                    &["role", "id", "kind", "state", "attempts", "error"],
                    &all,
                ))?,
            }
        }
        JobsCommand::Requeue { id, dead, role, reach } => {
            let path = match (id, dead) {
                (Some(id), _) => format!("/api/v1/jobs/{id}/requeue"),
                (None, true) => "/api/v1/jobs/requeue-dead".to_owned(),
                (None, false) => bail!("say which: a job's number, or --dead for all dead letters"),
            };
            let said = reach.door(*role)?.ask(Method::POST, &path, None).await?;
            table::print(&format!("{} in line again", said["requeued"]))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn jobs_of(door: &Door, role: Role, state: Option<&str>, kind: Option<&str>) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let mut path = format!("/api/v1/jobs?limit=1000&after={from}");
        for (name, value) in [("state", state), ("kind", kind)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={value}"));
            }
        }
        let page = door.get(&path).await?;
        after = page["next"].as_i64();
        for job in page["jobs"].as_array().into_iter().flatten() {
            let mut job = job.clone();
            job["role"] = json!(role.as_str());
            found.push(job);
        }
    }
    Ok(found)
}

/// The audit log.
pub async fn audit(command: &AuditCommand) -> Result<ExitCode> {
    match command {
        AuditCommand::Verify(look) => {
            let mut holds = true;
            let mut all = serde_json::Map::new();
            for role in look.roles() {
                let said = look.reach.door(role)?.get("/api/v1/audit/verify").await?;
                holds &= said["holds"] == true;
                all.insert(role.as_str().into(), said);
            }
            match look.format {
                Lines::Json => table::print_json(&Value::Object(all))?,
                Lines::Text => {
                    for (role, said) in &all {
                        let words = if said["holds"] == true {
                            format!(
                                "the chain holds, {} entries, head {}",
                                said["entries"],
                                said["head"].as_str().unwrap_or_default()
                            )
                        } else {
                            format!(
                                "BROKEN at entry {}: {}",
                                said["broken_at"],
                                said["why"].as_str().unwrap_or_default()
                            )
                        };
                        table::print(&format!("{role}: {words}"))?;
                    }
                }
            }
            Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(crate::CANNOT) })
        }
        AuditCommand::Ls { role, after, limit, format, reach } => {
            let path = format!("/api/v1/audit?after={after}&limit={limit}");
            let page = reach.door(*role)?.get(&path).await?;
            match format {
                Lines::Json => table::print_json(&page)?,
                Lines::Text => {
                    let entries = page["entries"].as_array().cloned().unwrap_or_default();
                    let names = ["sequence", "at", "actor", "action", "subject", "detail"];
                    table::print(&table::columns(&names, &entries))?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The service's programs.
pub async fn program(command: &ProgramCommand) -> Result<ExitCode> {
    match command {
        ProgramCommand::Ls { reach } => {
            table::print_json(&reach.door(Role::Service)?.get("/api/v1/programs").await?)?;
        }
        ProgramCommand::Mode { name, mode, reason, validation, reach } => {
            let mut body = json!({ "mode": mode, "reason": reason });
            if let Some(path) = validation {
                let record = std::fs::read_to_string(path);
                body["validation"] = record.with_context(|| format!("reading {}", path.display()))?.into();
            }
            let path = format!("/api/v1/programs/{name}/mode");
            table::print_json(&reach.door(Role::Service)?.ask(Method::PUT, &path, Some(body)).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

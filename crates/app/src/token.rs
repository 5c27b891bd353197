//! `overread token`: the keys to a role's HTTP door. Made beside the database, so that the first one needs none.

use std::process::ExitCode;

use anyhow::{Result, bail};
use overread_domain::Clock;
use overread_http::tokens;
use overread_store::Database;
use serde_json::json;

use crate::ask::Role;
use crate::cli::{Lines, TokenCommand, TokenPlace};
use crate::config::Config;
use crate::table;

pub async fn run(command: &TokenCommand) -> Result<ExitCode> {
    match command {
        TokenCommand::New { name, scope, place } => {
            let database = database(place).await?;
            let made = tokens::create(&database, Clock::machine().now(), &actor(), name, scope).await?;
            table::remark("The token is shown this once; the database holds its hash alone.");
            table::print(made.text.reveal())?;
        }
        TokenCommand::Ls { format, place } => {
            let rows = serde_json::to_value(tokens::list(&database(place).await?).await?)?;
            match format {
                Lines::Json => table::print_json(&rows)?,
                Lines::Text => {
                    let rows = rows.as_array().cloned().unwrap_or_default();
                    let names =
                        ["id", "name", "scopes", "created_at", "created_by", "last_used_at", "revoked_at"];
                    table::print(&table::columns(&names, &rows))?;
                }
            }
        }
        TokenCommand::Revoke { id, place } => {
            if !tokens::revoke(&database(place).await?, Clock::machine().now(), &actor(), id).await? {
                bail!("no token has the id {id}, or it was revoked before; `overread token ls` lists them");
            }
            table::print_line(&json!({ "revoked": id }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn database(place: &TokenPlace) -> Result<Database> {
    let config = Config::read(place.config.as_deref())?;
    Ok(match place.role {
        Role::Edge => {
            let edge: overread_edge::Config = config.section("edge")?;
            Database::open(&edge.database_url(), "edge", overread_edge::MIGRATIONS).await?
        }
        Role::Service => {
            let service: overread_service::Config = config.section("service")?;
            Database::open(&service.database_url(), "service", overread_service::schema::MIGRATIONS).await?
        }
    })
}

/// Who does it, for the audit log: the user of this machine who runs the command.
pub fn actor() -> String {
    let user =
        std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".into());
    format!("{user} at the command line")
}

//! `overread program`: which programs a running service has, and how their results are released.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cli::{ProgramCommand, ServiceAddress};
use crate::{roles, table};

pub fn run(command: &ProgramCommand) -> Result<ExitCode> {
    roles::runtime()?.block_on(async {
        match command {
            ProgramCommand::Ls(address) => {
                table::print_json(&ask(address, reqwest::Method::GET, "", None).await?)?
            }
            ProgramCommand::Mode { name, mode, reason, address } => {
                let body = serde_json::json!({ "mode": mode, "reason": reason });
                table::print_json(
                    &ask(address, reqwest::Method::PUT, &format!("/{name}/mode"), Some(body)).await?,
                )?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn ask(
    address: &ServiceAddress,
    method: reqwest::Method,
    rest: &str,
    body: Option<Value>,
) -> Result<Value> {
    let base = address.url.trim_end_matches('/');
    let mut request = reqwest::Client::new().request(method, format!("{base}/api/v1/programs{rest}"));
    if let Some(token) = &address.token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer =
        request.send().await.with_context(|| format!("asking the service at {base}; is it running?"))?;
    let status = answer.status();
    let said: Value = answer.json().await.unwrap_or_default();
    if !status.is_success() {
        bail!("the service answered {status}: {}", said["detail"].as_str().unwrap_or("no reason given"));
    }
    Ok(said)
}

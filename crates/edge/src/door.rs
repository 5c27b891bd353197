//! The DICOM door: what an association brings goes to the intake.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use overread_dimse::{
    AeTitle, Caller, CommitmentReport, ReceivedObject, Receiver, Scp, ScpConfig, ScpHandle, StoreStatus,
};
use tokio::runtime::Handle;

use crate::commitment::Reports;
use crate::config::{Config, ConfigError, Dimse};
use crate::error::{EdgeError, sentence};
use crate::intake::{Arrival, Intake, Refusal};

struct Door {
    intake: Intake,
    runtime: Handle,
    reports: Reports,
}

impl Receiver for Door {
    fn store(&self, from: &Caller, object: ReceivedObject) -> StoreStatus {
        let arrival = Arrival {
            file: object.file.to_path_buf(),
            bytes: object.bytes,
            sha256: object.sha256.clone(),
            source: from.calling.as_str().to_owned(),
            expected: None,
        };
        // The intake has moved the file when it says so; whatever is left of it goes with `object`.
        match self.runtime.block_on(self.intake.accept(arrival)) {
            Ok(_) => StoreStatus::Success,
            Err(Refusal::Full | Refusal::Away) => StoreStatus::OutOfResources,
            Err(Refusal::Unreadable(why)) => {
                tracing::warn!(calling = from.calling.as_str(), "an object was refused: {why}");
                StoreStatus::CannotUnderstand
            }
        }
    }

    fn committed(&self, _from: &Caller, report: CommitmentReport) -> bool {
        let noted = self.runtime.block_on(self.reports.take(&report));
        if let Err(e) = &noted {
            tracing::error!("a report on storage commitment was not noted: {}", sentence(e));
        }
        noted.is_ok()
    }

    fn staging(&self) -> &Path {
        self.intake.staging()
    }

    fn refuse_early(&self) -> Option<StoreStatus> {
        (!self.intake.has_room()).then_some(StoreStatus::OutOfResources)
    }
}

/// Opens the door.
///
/// # Errors
/// A key of the configuration does not work, or the port is taken.
pub(crate) fn open(config: &Config, intake: Intake, reports: Reports) -> Result<ScpHandle, EdgeError> {
    let dimse = &config.dimse;
    let title = |key: &str, text: &str| {
        AeTitle::parse(text)
            .map_err(|e| ConfigError { key: format!("edge.dimse.{key}"), problem: e.to_string() })
    };
    let calling = dimse.calling.iter().map(|t| title("calling", t)).collect::<Result<Vec<_>, _>>()?;
    let scp = ScpConfig {
        ae_title: title("ae_title", &dimse.ae_title)?,
        bind: dimse.bind,
        tls: tls(dimse)?,
        accept_any_called: dimse.accept_any_called,
        calling,
        max_associations: dimse.max_associations,
        idle: Duration::from_secs(dimse.idle_seconds),
        negotiation: Duration::from_secs(10),
        max_object_bytes: config.limits.object_bytes,
        max_pdu: 1 << 18,
    };
    let door = Door { intake, runtime: Handle::current(), reports };
    Scp::start(scp, Arc::new(door)).map_err(|e| EdgeError::Door {
        what: "the DICOM door",
        address: dimse.bind.to_string(),
        source: e.into(),
    })
}

/// TLS of the door, if it is set.
pub(crate) fn tls(dimse: &Dimse) -> Result<Option<Arc<rustls::ServerConfig>>, EdgeError> {
    let Some(tls) = &dimse.tls else { return Ok(None) };
    let read = |key: &str, path: &Path| {
        std::fs::read(path).map_err(|e| ConfigError {
            key: format!("edge.dimse.tls.{key}"),
            problem: format!("{} cannot be read: {e}", path.display()),
        })
    };
    let certificate = read("certificate", &tls.certificate)?;
    let key = read("key", &tls.key)?;
    let authority = tls.client_authority.as_ref().map(|p| read("client_authority", p)).transpose()?;
    let made = overread_dimse::tls_server(&certificate, &key, authority.as_deref());
    let made = made.map_err(|e| ConfigError { key: "edge.dimse.tls".into(), problem: sentence(&e) })?;
    Ok(Some(made))
}

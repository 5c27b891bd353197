//! A private Orthanc with its DICOMweb plugin, in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::dcmtk::Peer;
use crate::http::{self, Answer};
use crate::process::Process;

/// A running Orthanc. It ends, and its storage goes, when this is dropped.
pub struct Orthanc {
    folder: tempfile::TempDir,
    settings: Map<String, Value>,
    ports: Ports,
    process: Option<Process>,
}

#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    dicom: u16,
}

/// How an Orthanc is to be.
#[derive(Default)]
pub struct OrthancSetup {
    settings: Map<String, Value>,
}

impl OrthancSetup {
    /// Another AE title than `ORTHANC`.
    pub fn title(self, title: &str) -> Self {
        self.set("DicomAet", json!(title))
    }

    /// Refuse associations that call another AE title than its own.
    pub fn check_called_title(self) -> Self {
        self.set("DicomCheckCalledAet", json!(true))
    }

    /// Refuse C-STORE and C-ECHO of AE titles that are not among its modalities.
    pub fn refuse_unknown(self) -> Self {
        self.set("DicomAlwaysAllowEcho", json!(false)).set("DicomAlwaysAllowStore", json!(false))
    }

    /// DICOM over TLS only, with a certificate and key of its own; with an authority, peers must show a certificate that it signed.
    pub fn tls(self, certificate: &Path, key: &Path, authority: Option<&Path>) -> Self {
        let trusted = authority.unwrap_or(certificate);
        self.set("DicomTlsEnabled", json!(true))
            .set("DicomTlsCertificate", json!(certificate))
            .set("DicomTlsPrivateKey", json!(key))
            .set("DicomTlsTrustedCertificates", json!(trusted))
            .set("DicomTlsRemoteCertificateRequired", json!(authority.is_some()))
    }

    /// Any key of Orthanc's configuration.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.settings.insert(key.to_owned(), value);
        self
    }

    /// Starts it on free ports with an empty storage.
    ///
    /// # Panics
    /// Orthanc or its DICOMweb plugin is not installed, or it does not start.
    pub fn start(self) -> Orthanc {
        let mut settings = json!({
            "Name": "overread-test",
            "DicomAet": "ORTHANC",
            "Plugins": [plugin()],
            "DicomWeb": { "Enable": true, "Root": "/dicom-web/" },
            // Loopback only and without passwords: RemoteAccessAllowed is false.
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            // Modalities are set through REST, once ports are known, and outlive a restart.
            "DicomModalitiesInDatabase": true,
            "DicomAlwaysAllowEcho": true,
            "DicomAlwaysAllowStore": true,
            "DicomCheckCalledAet": false,
            "UnknownSopClassAccepted": true,
            "StableAge": 1,
            // A peer that is away is noticed at once and an association does not linger.
            "DicomScuTimeout": 5,
            "DicomAssociationCloseDelay": 0,
        });
        let defaults = settings.as_object_mut().expect("an object");
        defaults.extend(self.settings);
        let settings = std::mem::take(defaults);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports = Ports { http: crate::free_port(), dicom: crate::free_port() };
        let mut orthanc = Orthanc { folder, settings, ports, process: None };
        orthanc.again();
        orthanc
    }
}

impl Orthanc {
    /// An Orthanc that takes what it is sent.
    ///
    /// # Panics
    /// As [`OrthancSetup::start`].
    pub fn start() -> Self {
        Self::setup().start()
    }

    /// One that is to be described.
    pub fn setup() -> OrthancSetup {
        OrthancSetup::default()
    }

    /// Starts it again, on the same ports and storage, after [`Self::stop`] or [`Self::kill`].
    ///
    /// # Panics
    /// It does not start.
    pub fn again(&mut self) {
        let folder = self.folder.path();
        let (config, storage) = (folder.join("orthanc.json"), folder.join("storage"));
        let mut settings = self.settings.clone();
        for (key, value) in [
            ("StorageDirectory", json!(storage)),
            ("IndexDirectory", json!(storage)),
            ("HttpPort", json!(self.ports.http)),
            ("DicomPort", json!(self.ports.dicom)),
        ] {
            settings.insert(key.to_owned(), value);
        }
        std::fs::write(&config, Value::Object(settings).to_string()).expect("a configuration file");
        let mut process = Process::start(
            Command::new("Orthanc").env("PATH", path()).arg("--verbose-plugins").arg(&config),
            &folder.join("log"),
        );
        let system = format!("{}/system", self.url());
        process.ready("REST answers", || http::get(&system).is_ok_and(|answer| answer.status == 200));
        self.process = Some(process);
    }

    /// Ends it in order; the storage stays.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop();
        }
    }

    /// Ends it as `kill -9` does; the storage stays.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// What it printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap_or_default())
            .into_owned()
    }

    /// Base address of its REST API, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// Base address of its DICOMweb services, without a slash at the end.
    pub fn dicomweb(&self) -> String {
        format!("{}/dicom-web", self.url())
    }

    /// Its DICOM port.
    pub fn dicom_port(&self) -> u16 {
        self.ports.dicom
    }

    /// Its AE title.
    pub fn title(&self) -> String {
        self.settings["DicomAet"].as_str().unwrap_or_default().to_owned()
    }

    /// How DCMTK calls it.
    pub fn peer(&self) -> Peer {
        Peer::new(self.ports.dicom, &self.title())
    }

    /// GET of a path of the REST API, such as `/statistics`.
    ///
    /// # Panics
    /// The answer is no JSON with status 200.
    pub fn get(&self, path: &str) -> Value {
        self.request("GET", path, &[]).ok().json()
    }

    /// POST of JSON.
    ///
    /// # Panics
    /// The answer is no JSON with status 200.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.request("POST", path, body.to_string().as_bytes()).ok().json()
    }

    /// PUT of JSON.
    ///
    /// # Panics
    /// The status is not 200.
    pub fn put(&self, path: &str, body: &Value) {
        self.request("PUT", path, body.to_string().as_bytes()).ok();
    }

    /// DELETE.
    ///
    /// # Panics
    /// The status is not 200.
    pub fn delete(&self, path: &str) {
        self.request("DELETE", path, &[]).ok();
    }

    /// Any request, whatever the status of its answer.
    ///
    /// # Panics
    /// It does not answer.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        http::request(method, &format!("{}{path}", self.url()), &[], body).expect("Orthanc's answer")
    }

    /// Makes a peer known by a name: AE title and port at 127.0.0.1. `more` holds other keys of Orthanc's, such as
    /// `{"UseDicomTls": true}`.
    ///
    /// # Panics
    /// Orthanc refuses it.
    pub fn modality(&self, name: &str, title: &str, port: u16, more: &Value) {
        let mut body = json!({ "AET": title, "Host": "127.0.0.1", "Port": port });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        self.put(&format!("/modalities/{name}"), &body);
    }

    /// Stores a file through REST and returns Orthanc's id of the instance.
    ///
    /// # Panics
    /// Orthanc refuses it.
    pub fn upload(&self, file: &Path) -> String {
        let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let answer = self.request("POST", "/instances", &bytes).ok().json();
        answer["ID"].as_str().expect("an id").to_owned()
    }

    /// Orthanc's ids of its studies.
    pub fn studies(&self) -> Vec<String> {
        ids(&self.get("/studies"))
    }

    /// Orthanc's ids of its instances, those of one study if one is named.
    pub fn instances(&self, study: Option<&str>) -> Vec<String> {
        match study {
            None => ids(&self.get("/instances")),
            Some(id) => {
                let list = self.get(&format!("/studies/{id}/instances"));
                list.as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|i| i["ID"].as_str().map(str::to_owned))
                    .collect()
            }
        }
    }

    /// The attributes of an instance by their keywords.
    pub fn tags(&self, instance: &str) -> Value {
        self.get(&format!("/instances/{instance}/simplified-tags"))
    }

    /// Orthanc's id of what has a DICOM UID: an instance, series or study.
    pub fn lookup(&self, uid: &str) -> Option<String> {
        let found = self.request("POST", "/tools/lookup", uid.as_bytes()).ok().json();
        found.as_array().and_then(|list| list.first()).and_then(|one| one["ID"].as_str()).map(str::to_owned)
    }

    /// The bytes of an instance.
    pub fn file(&self, instance: &str) -> Vec<u8> {
        self.request("GET", &format!("/instances/{instance}/file"), &[]).ok().body
    }

    /// Sends a study, series or instance to a modality by C-STORE and waits.
    ///
    /// # Errors
    /// The modality did not take it: Orthanc's words.
    pub fn send(&self, id: &str, modality: &str) -> Result<Value, String> {
        let body = json!({ "Resources": [id], "Synchronous": true });
        let answer =
            self.request("POST", &format!("/modalities/{modality}/store"), body.to_string().as_bytes());
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
    }
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Debian keeps servers in `sbin`, which not everybody's search path has.
fn path() -> String {
    format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Debian 12 links the plugins into one folder; other releases have kept them in others.
fn plugin() -> PathBuf {
    let folders = ["/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins", "/usr/lib/orthanc"];
    folders
        .iter()
        .flat_map(std::fs::read_dir)
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libOrthancDicomWeb.so"))
        })
        .expect("Orthanc's DICOMweb plugin; run ./x setup")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dcmtk::{Storescp, echoscu, storescu};
    use crate::process::{PATIENCE, wait_until};
    use crate::tools::sample;

    #[test]
    fn what_is_sent_to_it_is_there_and_outlives_a_restart_and_a_kill() {
        let mut orthanc = Orthanc::start();
        let peer = orthanc.peer();
        echoscu(&peer, &[]).unwrap();
        assert!(storescu(&peer, &[], &[sample("693_UNCI.dcm")]).complete);
        let instances = orthanc.instances(None);
        assert_eq!(instances.len(), 1);
        let tags = orthanc.tags(&instances[0]);
        assert_eq!(tags["Modality"], "CT");
        let uid = tags["StudyInstanceUID"].as_str().unwrap().to_owned();
        let dicom_web =
            http::get(&format!("{}/studies?StudyInstanceUID={uid}", orthanc.dicomweb())).unwrap().ok().json();
        assert_eq!(dicom_web[0]["0020000D"]["Value"][0], uid.as_str());
        orthanc.modality("KEEPER", "KEEPER", 104, &json!({}));

        orthanc.stop();
        assert!(echoscu(&peer, &[]).is_err());
        orthanc.again();
        assert_eq!(orthanc.instances(None), instances);
        assert_eq!(orthanc.get("/modalities"), json!(["KEEPER"]));
        orthanc.kill();
        orthanc.again();
        let study = orthanc.lookup(&uid).unwrap();
        assert_eq!(orthanc.instances(Some(&study)), instances);
        orthanc.delete(&format!("/studies/{study}"));
        assert_eq!(orthanc.studies(), Vec::<String>::new());
    }

    #[test]
    fn it_sends_a_study_to_a_modality_and_says_when_that_is_away() {
        let (orthanc, mut scp) = (Orthanc::start(), Storescp::start("KEEPER", &[]));
        let instance = orthanc.upload(&sample("RG1_J2KR.dcm"));
        orthanc.modality("keeper", "KEEPER", scp.port(), &json!({}));
        orthanc.send(&orthanc.studies()[0], "keeper").unwrap();
        assert_eq!(scp.files().len(), 1);
        assert!(orthanc.file(&instance).len() > 4_000_000);
        scp.stop();
        assert!(orthanc.send(&instance, "keeper").is_err());
        scp.again();
        orthanc.send(&instance, "keeper").unwrap();
        wait_until("the second copy", PATIENCE, || scp.files().len() == 2);
    }

    #[test]
    fn strangers_and_wrong_titles_are_refused_where_it_is_told_so() {
        let orthanc = Orthanc::setup().title("PACS").check_called_title().refuse_unknown().start();
        assert!(echoscu(&orthanc.peer().calling("STRANGER"), &[]).is_err());
        orthanc.modality("friend", "FRIEND", 104, &json!({}));
        let friend = orthanc.peer().calling("FRIEND");
        echoscu(&friend, &[]).unwrap();
        assert!(storescu(&friend, &[], &[sample("SC_rgb.dcm")]).complete);
        let misnamed = Peer { called: "OTHER".into(), ..friend };
        assert!(echoscu(&misnamed, &[]).unwrap_err().contains("Called AE Title Not Recognized"));
    }
}

//! Edge and service on two networks with one wire between them: a marked study goes out, its result comes home, and nothing of the marks reaches the
//! service: not in what it is told, not in what it keeps, logs or counts. The same search finds all of them where a site lets everything out.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use overread_testkit::{Network, Orthanc, Overread, Tap, TapSetup, free_port, http, wait_for, wait_until};
use serde_json::{Value, json};
use support::site::PATIENCE;
use support::{peer, text};

const BINARY: &str = env!("CARGO_BIN_EXE_overread");

/// The reader's network: the service, and a tap before its door.
struct Outside {
    network: Network,
    service: Overread,
    api: String,
    tap: Option<Tap>,
    door: u16,
    folder: tempfile::TempDir,
}

/// The hospital's network: a PACS and the edge.
struct Hospital {
    network: Network,
    orthanc: Orthanc,
    edge: Overread,
    api: String,
}

impl Outside {
    fn start(network: Network) -> Self {
        let (service, api, door, folder) = network.within(|| {
            let (api, own, door) = (free_port(), free_port(), free_port());
            let config = |folder: &Path| {
                format!(
                    "[service]\ndata = \"{}/service\"\n[service.http]\nbind = \"127.0.0.1:{api}\"\n\
                     [service.link]\nbind = \"127.0.0.1:{own}\"\nnames = [\"127.0.0.1\", \"{}\"]\n",
                    folder.display(),
                    network.address()
                )
            };
            let api = format!("http://127.0.0.1:{api}");
            let service = Overread::role("service", Path::new(BINARY), std::slice::from_ref(&api), config);
            let body = json!({ "mode": "review-all", "reason": "a test" }).to_string();
            let mode = format!("{api}/api/v1/programs/cxr-pneumonia/mode");
            http::request("PUT", &mode, &[("content-type", "application/json")], body.as_bytes())
                .unwrap()
                .ok();
            (service, api, (door, own), tempfile::tempdir().unwrap())
        });
        let mut outside = Self { network, service, api, tap: None, door: door.0, folder };
        outside.tap(door.1);
        outside
    }

    /// Puts the tap before the door at which the service listens.
    fn tap(&mut self, own: u16) {
        let setup = TapSetup {
            bind: (self.network.address(), self.door).into(),
            upstream: format!("https://127.0.0.1:{own}"),
            authority: self.service.folder().join("service/link/authority.pem"),
            identity: self.folder.path().join("identity.pem"),
            folder: self.folder.path().join("messages"),
        };
        std::fs::create_dir_all(&setup.folder).unwrap();
        self.tap = Some(self.network.within(|| Tap::start(setup)));
    }

    /// A one-time code for an edge of a new client.
    fn code(&self) -> String {
        self.service.command(&["client", "add", "hospital"]).unwrap();
        self.service.command(&["client", "code", "hospital"]).unwrap().trim().to_owned()
    }

    fn url(&self) -> String {
        format!("https://{}:{}", self.network.address(), self.door)
    }

    /// All that the service received, keeps, logged and counts.
    fn places(&self) -> Vec<PathBuf> {
        let metrics = self.folder.path().join("metrics");
        let told = self.network.within(|| http::get(&format!("{}/metrics", self.api)).unwrap().ok().body);
        std::fs::write(&metrics, told).unwrap();
        let messages = self.tap.as_ref().unwrap().messages().to_owned();
        assert!(std::fs::read_dir(&messages).unwrap().count() > 4, "the tap saw nothing");
        vec![self.service.folder().to_owned(), messages, metrics]
    }
}

impl Hospital {
    /// `lines` go below `[edge]`.
    fn start(network: Network, outside: &Outside, lines: &str) -> Self {
        let code = outside.code();
        let (orthanc, edge, api) = network.within(|| {
            let orthanc = Orthanc::start();
            let (http, dimse) = (free_port(), free_port());
            let config = |folder: &Path| {
                let config = format!(
                    "[edge]\ndata = \"{data}/edge\"\n[edge.http]\nbind = \"127.0.0.1:{http}\"\n[edge.dimse]\nbind = \"127.0.0.1:{dimse}\"\n\
                     [edge.completion]\nquiet_seconds = 0.5\n[edge.destination.pacs]\nkind = \"dimse\"\nhost = \"127.0.0.1\"\nport = {}\nae_title = \"{}\"\n\
                     {lines}\n[link]\nurl = \"{}\"\n",
                    orthanc.dicom_port(),
                    orthanc.title(),
                    outside.url(),
                    data = folder.display(),
                );
                enrol(folder, &config, &code);
                // The tap speaks for the edge from now on.
                std::fs::copy(folder.join("edge/link/identity.pem"), outside.folder.path().join("identity.pem")).unwrap();
                config
            };
            let api = format!("http://127.0.0.1:{http}");
            let edge = Overread::role("edge", Path::new(BINARY), std::slice::from_ref(&api), config);
            orthanc.modality("overread", "OVERREAD", dimse, &json!({}));
            (orthanc, edge, api)
        });
        Self { network, orthanc, edge, api }
    }

    /// Sends a file from the PACS to the edge.
    fn send(&self, file: &Path) {
        self.network.within(|| {
            let id = self.orthanc.upload(file);
            self.orthanc.send(&id, "overread").unwrap();
        });
    }

    /// The report that came home for a study.
    fn report(&self, study: &str) -> Value {
        self.network.within(|| {
            wait_for("the report is in the PACS", PATIENCE, || {
                let id = self.orthanc.lookup(study)?;
                let tags = self.orthanc.instances(Some(&id)).into_iter().map(|i| self.orthanc.tags(&i));
                tags.into_iter().find(|t| t["Modality"] == "SR")
            })
        })
    }

    fn get(&self, path: &str) -> Value {
        self.network.within(|| http::get(&format!("{}{path}", self.api)).unwrap().ok().json())
    }
}

/// A test that fails shows what the edge was about.
impl Drop for Hospital {
    #[expect(clippy::print_stderr, reason = "a test's output is its report")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ask = |path: &str| http::get(&format!("{}{path}", self.api)).map_or_else(|e| e, |a| a.text());
            let said = self.network.within(|| ["/api/v1/studies", "/api/v1/jobs"].map(ask));
            eprintln!("{}\n{}", said.join("\n"), self.edge.log());
        }
    }
}

/// Enrols as a person does, before the edge is started.
fn enrol(folder: &Path, config: &str, code: &str) {
    let file = folder.join("overread.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = support::overread();
    let output = command.args(["enrol", code, "--config"]).arg(&file).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

struct Marked {
    path: PathBuf,
    study: String,
    patient_id: String,
    patient_name: String,
    accession: String,
    marks: BTreeSet<String>,
}

fn marked(folder: &Path, name: &str, how: &str) -> Marked {
    let made: Value = serde_json::from_str(&peer(
        "network_canary.py",
        &[Path::new("make"), folder, Path::new(name), Path::new(how)],
    ))
    .unwrap();
    let said = |key: &str| made[key].as_str().unwrap().to_owned();
    Marked {
        path: said("path").into(),
        study: said("study"),
        patient_id: said("patient_id"),
        patient_name: said("patient_name"),
        accession: said("accession"),
        marks: made["marks"].as_object().unwrap().keys().cloned().collect(),
    }
}

/// Kinds of marks that a search finds, and where.
fn search(places: &[PathBuf]) -> (BTreeSet<String>, String) {
    let mut args = vec![Path::new("search")];
    args.extend(places.iter().map(PathBuf::as_path));
    let printed = peer("network_canary.py", &args);
    let found: Vec<(String, String, String)> = serde_json::from_str(&printed).unwrap();
    (found.into_iter().map(|(kind, _, _)| kind).collect(), printed)
}

#[test]
fn a_study_leaves_without_the_patient_and_its_result_comes_home_to_the_patient() {
    let [inside, outside] = Network::pair();
    let outside = Outside::start(outside);
    let hospital = Hospital::start(inside, &outside, "");
    let study = marked(&outside.folder.path().join("originals"), "One", "everywhere");
    hospital.send(&study.path);
    let report = hospital.report(&study.study);
    for (keyword, value) in [
        ("StudyInstanceUID", &study.study),
        ("PatientID", &study.patient_id),
        ("PatientName", &study.patient_name),
        ("AccessionNumber", &study.accession),
    ] {
        assert_eq!(report[keyword], value.as_str(), "{keyword}");
    }
    // The edge's own doors are not seen from the other side of the wire.
    let door = hospital.api.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap();
    let reach = || std::net::TcpStream::connect((hospital.network.address(), door)).is_ok();
    assert!(!outside.network.within(reach), "the service's network reaches the edge");

    // A wire that is cut while a study waits: it goes when the wire is back, once.
    hospital.network.cut();
    let second = marked(&outside.folder.path().join("originals-2"), "Two", "everywhere");
    hospital.send(&second.path);
    wait_until("the study waits for the link", PATIENCE, || {
        hospital.get("/api/v1/jobs?state=waiting")["jobs"].to_string().contains("cannot be reached")
    });
    hospital.network.mend();
    assert_eq!(hospital.report(&second.study)["PatientName"], second.patient_name.as_str());

    let (found, printed) = search(&outside.places());
    assert!(found.is_empty(), "{printed}");
    let log = hospital.network.within(|| hospital.edge.log());
    assert!(!log.contains("ZZCANARY") && !log.contains(&study.patient_id), "identity is in the edge's log");
    // The search can find: the hospital's own side has all of it in the original.
    let (found, printed) = search(std::slice::from_ref(&study.path));
    assert_eq!(found, study.marks, "{printed}");
    assert_eq!(chains(&hospital, &outside), 2);
    // The hospital's chain says what was done before the study left.
    let log = hospital.get("/api/v1/audit?limit=1000").to_string();
    for done in ["PatientName (0010,0010)", "StudyInstanceUID (0020,000D)", "painted over: text"] {
        assert!(log.contains(done), "{done} is not in the audit log");
    }
}

/// How many manifests and results both audit chains name; both must hold.
fn chains(hospital: &Hospital, outside: &Outside) -> usize {
    let entries = |log: Value| log["entries"].as_array().unwrap().clone();
    let here = entries(hospital.get("/api/v1/audit?limit=1000"));
    let there = outside
        .network
        .within(|| http::get(&format!("{}/api/v1/audit?limit=1000", outside.api)).unwrap().ok().json());
    let named = |log: &[Value], action: &str, key: &str| -> BTreeSet<String> {
        let of_action = log.iter().filter(|e| e["action"] == action);
        let detail = |e: &Value| match &e["detail"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            other => other.clone(),
        };
        of_action.filter_map(|e| detail(e)[key].as_str().map(str::to_owned)).collect()
    };
    let there = entries(there);
    let sent = named(&here, "study.sent", "manifest");
    assert_eq!(sent, named(&there, "study.received", "manifest"));
    let returned = named(&here, "result.received", "result");
    assert_eq!(returned, named(&there, "case.released", "result"));
    assert_eq!(named(&here, "result.received", "manifest"), sent);
    sent.len()
}

/// A profile that keeps what the table protects, and pixels as they are: what the search must find. The look at the outgoing bytes cannot be switched off, so the
/// marks stand in attributes that the profile keeps, and nowhere else.
const EVERYTHING: &str = r#"
[profile]
name = "everything"
options = ["retain-dates-full", "retain-uids", "retain-patient-characteristics", "retain-device-identity", "retain-institution-identity"]
burned_in = "keep"

[tags]
keep = ["PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate"]
"#;

#[test]
fn the_same_search_finds_every_mark_where_a_site_lets_everything_out() {
    let [inside, outside] = Network::pair();
    let outside = Outside::start(outside);
    let profile = outside.folder.path().join("everything.toml");
    std::fs::write(&profile, EVERYTHING).unwrap();
    let lines =
        format!("[edge.deid]\nprofile = \"{}\"\npixels = \"keep\"\nsecond_look = false", profile.display());
    let hospital = Hospital::start(inside, &outside, &lines);
    let study = marked(&outside.folder.path().join("originals"), "One", "once");
    hospital.send(&study.path);
    hospital.report(&study.study);
    let (found, printed) = search(&outside.places());
    assert_eq!(found, study.marks, "{printed}");
}

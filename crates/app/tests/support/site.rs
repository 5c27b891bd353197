//! Both roles beside a real PACS.

use std::path::Path;
use std::time::Duration;

use overread_testkit::samples::{self, Sample};
use overread_testkit::{Orthanc, Overread, free_port};
use serde_json::{Value, json};

/// How long a site may take for what it does by itself.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Overread beside an Orthanc.
pub struct Site {
    pub orthanc: Orthanc,
    pub overread: Overread,
    pub edge: String,
    pub service: String,
    pub dimse: u16,
    pub files: tempfile::TempDir,
}

impl Site {
    /// `stores` gives the lines for database and objects of a role. Pixels leave as they are.
    pub fn start(stores: impl Fn(&str) -> String) -> Self {
        Self::with(&[], |role| match role {
            "edge" => format!("allow_burned_in = true\n{}", stores(role)),
            _ => stores(role),
        })
    }

    /// With environment variables and lines for each role; pixels leave as the gate lets them.
    pub fn with(variables: &[(&str, &str)], lines: impl Fn(&str) -> String) -> Self {
        let orthanc = Orthanc::start();
        let (edge, service, dimse) = (free_port(), free_port(), free_port());
        let config = |folder: &Path| {
            format!(
                "[edge]\ndeid.recognizable_features = \"keep\"\ndata = \"{data}/edge\"\n{}\nmax_attempts = 50\n[edge.http]\nbind = \"127.0.0.1:{edge}\"\n[edge.dimse]\nbind = \"127.0.0.1:{dimse}\"\n\
                 [edge.completion]\nquiet_seconds = 1.0\n[edge.destination.pacs]\nkind = \"dimse\"\nhost = \"127.0.0.1\"\nport = {}\nae_title = \"{}\"\n\
                 [service]\ndata = \"{data}/service\"\n{}\nmax_attempts = 10\n[service.http]\nbind = \"127.0.0.1:{service}\"\n",
                lines("edge"),
                orthanc.dicom_port(),
                orthanc.title(),
                lines("service"),
                data = folder.display(),
            )
        };
        let (edge, service) = (format!("http://127.0.0.1:{edge}"), format!("http://127.0.0.1:{service}"));
        let binary = Path::new(env!("CARGO_BIN_EXE_overread"));
        let overread = Overread::with("all", binary, &[edge.clone(), service.clone()], variables, config);
        orthanc.modality("overread", "OVERREAD", dimse, &json!({}));
        Self { orthanc, overread, edge, service, dimse, files: tempfile::tempdir().unwrap() }
    }

    pub fn mode(&self, mode: &str) {
        self.mode_of("cxr-pneumonia", mode);
    }

    pub fn mode_of(&self, program: &str, mode: &str) {
        let body = json!({ "mode": mode, "reason": "a test" }).to_string();
        let url = format!("{}/api/v1/programs/{program}/mode", self.service);
        overread_testkit::http::request(
            "PUT",
            &url,
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
        .unwrap()
        .ok();
    }

    pub fn children(&self, seed: &str, count: usize) -> Vec<Sample> {
        samples::children(self.files.path(), seed, count)
    }

    /// What Orthanc has of a study, by modality.
    pub fn of_modality(&self, study: &str, modality: &str) -> Vec<Value> {
        let Some(id) = self.orthanc.lookup(study) else { return vec![] };
        let tags = self.orthanc.instances(Some(&id)).into_iter().map(|i| self.orthanc.tags(&i));
        tags.filter(|t| t["Modality"] == modality).collect()
    }

    pub fn state_of_all(&self) -> String {
        let ask = |url: &str| overread_testkit::http::get(url).map(|a| a.text()).unwrap_or_else(|e| e);
        format!(
            "{}\n{}\n{}\n{}",
            ask(&format!("{}/api/v1/status", self.edge)),
            ask(&format!("{}/api/v1/jobs", self.edge)),
            ask(&format!("{}/api/v1/jobs", self.service)),
            self.overread.log()
        )
    }
}

/// A test that fails shows what the site was about.
impl Drop for Site {
    #[expect(clippy::print_stderr, reason = "a test's output is its report")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.state_of_all());
        }
    }
}

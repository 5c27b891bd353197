//! Clips of the heart and photographs of eyes and skin through both roles, with text out of their pixels: what packs for research find stays at the
//! service, what is released comes home to the PACS.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};

use overread_testkit::http::{get, request};
use overread_testkit::wait_for;
use serde_json::{Value, json};
use support::form::{form, upload};
use support::site::{PATIENCE, Site};
use support::{changed, dciodvfy_errors, overread, peer, python, run, text, tools, workspace};

/// The packs that read, each under its own name; `eyes` is the one that this test makes, the only one for eyes that may be released.
const PROGRAMS: [&str; 4] = ["echo-regurgitation", "fundus", "skin-lesion", "eyes"];

/// Draws into a folder: `right.jpg`, a real photograph of a retina, `left.jpg`, its mirror image, a little lighter, and `skin.png`, a dark spot on skin.
const PICTURES: &str = r"
import sys
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
retina, folder = sys.argv[1:]
right = Image.open(retina).convert('RGB').resize((700, 700))
right.save(f'{folder}/right.jpg')
ImageEnhance.Brightness(ImageOps.mirror(right)).enhance(1.1).save(f'{folder}/left.jpg')
skin = Image.new('RGB', (600, 450), (208, 152, 126))
draw = ImageDraw.Draw(skin)
draw.ellipse((220, 150, 390, 300), fill=(96, 58, 44))
draw.ellipse((300, 210, 430, 330), fill=(126, 78, 58))
skin.filter(ImageFilter.GaussianBlur(6)).save(f'{folder}/skin.png')
";

/// Lets an image state its side by the modifier of its anatomic region alone, as some cameras do; the argument is its file.
const BY_MODIFIER: &str = r"
import sys, pydicom
from pydicom.dataset import Dataset
path, = sys.argv[1:]
data = pydicom.dcmread(path)
assert data.ImageLaterality == 'L'
del data.ImageLaterality
side = Dataset()
side.CodeValue, side.CodingSchemeDesignator, side.CodeMeaning = '7771000', 'SCT', 'Left'
data.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [side]
data.save_as(path)
";

/// A pack for photographs of eyes that says how bright they are, signed; a trust list that has its key and those of the starter packs.
fn eyes(folder: &Path) -> PathBuf {
    let pack = changed("brightness", &folder.join("packs"), |m| {
        m["id"] = json!("eyes");
        m["program"] = json!("eyes");
        m["intended_use"]["modalities"] = json!(["OP"]);
        m["findings"][0]["site"] = json!({"scheme": "SCT", "value": "81745001", "meaning": "Eye"});
    });
    let key = folder.join("key");
    let made = run(overread().args(["pack", "keygen"]).arg(&key));
    assert!(run(overread().args(["pack", "sign"]).arg(&pack).arg("--key").arg(&key)).status.success());
    let trust = folder.join("trust.toml");
    let known = std::fs::read_to_string(workspace().join("models/trust.toml")).unwrap();
    std::fs::write(&trust, known + &text(&made.stdout)).unwrap();
    trust
}

struct Clinic {
    site: Site,
    folder: tempfile::TempDir,
}

impl Clinic {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trust = eyes(folder.path());
        let packs =
            format!("{}:{}", workspace().join("models").display(), folder.path().join("packs").display());
        let program = |name: &&str| format!("{{ name = \"{name}\", pack = \"{name}\" }}");
        let programs: Vec<String> = PROGRAMS.iter().map(program).collect();
        let variables = [("OVERREAD_PACKS", packs.as_str()), ("OVERREAD_TRUST", trust.to_str().unwrap())];
        let site = Site::with(&variables, |role| match role {
            "service" => format!("program = [{}]", programs.join(", ")),
            _ => String::new(),
        });
        let retina = tools().join("pictures/skimage/data/retina.jpg");
        python(PICTURES, &[retina.as_os_str(), folder.path().as_os_str()]);
        Self { site, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Stores files in the PACS, which sends their study; its UID.
    fn send(&self, files: &[PathBuf]) -> String {
        let orthanc = &self.site.orthanc;
        let instances: Vec<String> = files.iter().map(|file| orthanc.upload(file)).collect();
        let study = orthanc.tags(&instances[0])["StudyInstanceUID"].as_str().unwrap().to_owned();
        orthanc.send(&orthanc.lookup(&study).unwrap(), "overread").unwrap();
        study
    }

    /// Sends a form of one picture to the edge; its study, once its image is known to be valid.
    fn photograph(&self, picture: &Path, fields: &[(&str, &str)]) -> String {
        let mut parts: Vec<_> =
            fields.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect();
        parts.push(("picture", std::fs::read(picture).unwrap()));
        let answer = upload(&self.site.edge, &form(&parts));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let json = answer.json();
        let (study, series) = (json["study"].as_str().unwrap(), json["series"].as_str().unwrap());
        let instance = json["instances"][0].as_str().unwrap();
        let url =
            format!("{}/dicom-web/studies/{study}/series/{series}/instances/{instance}", self.site.edge);
        let accept = [("accept", "application/dicom; transfer-syntax=*")];
        self.valid(instance, &request("GET", &url, &accept, &[]).unwrap().ok().body);
        study.to_owned()
    }

    /// The reading of the case of a program that came as the first, second … (from 0), once it is there.
    fn reading(&self, program: &str, case: usize) -> Value {
        let ask = |path: &str| get(&format!("{}/api/v1/{path}", self.site.service)).unwrap().ok().json();
        wait_for(&format!("{program} has read"), PATIENCE, || {
            let cases = ask(&format!("cases?program={program}"));
            let detail = ask(&format!("cases/{}", cases["cases"].get(case)?["id"]));
            detail["readings"].get(0).cloned()
        })
    }

    /// A reading that must stay at the service and say that it is for research.
    fn kept(&self, program: &str, case: usize) -> Value {
        let reading = self.reading(program, case);
        assert_eq!(
            (&reading["mode"], &reading["case_version"]),
            (&json!("shadow"), &Value::Null),
            "{reading}"
        );
        let caveats = reading["caveats"].to_string();
        assert!(caveats.contains("Research use only"), "{reading}");
        for picture in reading["captures"].as_array().unwrap() {
            assert!(picture["description"].as_str().unwrap().contains("Research use only"), "{picture}");
        }
        reading
    }

    /// The report and the pictures of a study that came home, all valid, as other people's software reads them.
    fn home(&self, study: &str) -> Value {
        let orthanc = &self.site.orthanc;
        wait_for("a report is in the PACS", PATIENCE, || self.site.of_modality(study, "SR").pop());
        let instances = orthanc.instances(Some(&orthanc.lookup(study).unwrap()));
        let made =
            instances.iter().filter(|i| ["SR", "OT"].iter().any(|m| orthanc.tags(i)["Modality"] == *m));
        let files: Vec<PathBuf> = made.map(|i| self.valid(i, &orthanc.file(i))).collect();
        let mut args: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        args.push(Path::new("--json"));
        serde_json::from_str(&peer("check_results.py", &args)).unwrap()
    }

    /// Writes an object down, which must be valid.
    fn valid(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(&format!("{name}.dcm"));
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(dciodvfy_errors(&path), Vec::<String>::new(), "{name}");
        path
    }

    fn in_pacs(&self, study: &str) -> usize {
        self.site.orthanc.lookup(study).map_or(0, |id| self.site.orthanc.instances(Some(&id)).len())
    }
}

/// The sides of findings.
fn sides(reading: &Value) -> Vec<&str> {
    reading["findings"].as_array().unwrap().iter().map(|f| f["laterality"].as_str().unwrap_or("-")).collect()
}

#[test]
fn research_stays_at_the_service_and_what_is_released_comes_home() {
    let clinic = Clinic::open();
    let doppler =
        clinic.send(&[tools().join("sources/deid_data/data/ultrasounds/ultrasound-multiframe.dcm")]);
    let answered = clinic.kept("echo-regurgitation", 0);
    assert_eq!(answered["findings"].as_array().unwrap().len(), 4);
    assert_eq!(answered["not_assessed"], Value::Null, "{answered}");

    let grey = clinic.send(&[tools().join("samples/data_store/data/color3d_jpeg_baseline.dcm")]);
    let refused = clinic.kept("echo-regurgitation", 1);
    assert_eq!(refused["not_assessed"]["code"], "out-of-distribution", "it shows no flow: {refused}");

    let camera = [("kind", "eye"), ("device", "fundus-camera"), ("pixel_spacing_mm", "0.0075")];
    let fields = [&camera[..], &[("laterality", "L"), ("nothing_burned_in", "true")]].concat();
    let retina = tools().join("pictures/skimage/data/retina.jpg");
    let eye = clinic.photograph(&retina, &fields);
    assert_eq!(sides(&clinic.kept("fundus", 0)), ["left"; 5]);
    assert_eq!(clinic.reading("eyes", 0)["mode"], "shadow");

    // From here on two programs let out what they find.
    clinic.site.mode_of("eyes", "review-all");
    clinic.site.mode_of("skin-lesion", "review-all");

    let skin = [("kind", "skin"), ("body_part", "HAND"), ("laterality", "L")];
    let skin = clinic.photograph(&clinic.file("skin.png"), &skin);
    let report = clinic.home(&skin);
    assert_eq!(report["reports"].as_array().unwrap().len(), 1, "{report}");

    let mut wrap = overread();
    wrap.arg("wrap")
        .args([clinic.file("right.jpg"), clinic.file("left.jpg")])
        .arg("--out")
        .arg(clinic.file("both"));
    let wrapped = run(wrap.args(["--kind", "eye", "--laterality", "R,L", "--nothing-burned-in"]));
    assert!(wrapped.status.success(), "{}", text(&wrapped.stderr));
    let two = [clinic.file("both/1.dcm"), clinic.file("both/2.dcm")];
    python(BY_MODIFIER, &[two[1].as_os_str()]);
    let both = clinic.send(&two);
    let told = clinic.home(&both);
    let findings = told["reports"][0]["findings"].as_array().unwrap();
    let of: Vec<_> = findings.iter().map(|f| f["laterality"][0].as_str().unwrap()).collect();
    assert_eq!(of, ["Right", "Left"], "{told}");
    assert_ne!(findings[0]["source_images"], findings[1]["source_images"]);
    let of_both = clinic.kept("fundus", 1);
    assert_eq!(sides(&of_both), [["right"; 5], ["left"; 5]].concat());
    assert!(of_both["findings"].as_array().unwrap().iter().all(|f| f["probability"].is_f64()), "{of_both}");

    // What was sent first would have been here by now.
    let pacs = [&doppler, &grey, &eye].map(|study| clinic.in_pacs(study));
    assert_eq!(pacs, [1, 1, 0], "as they were sent, and the photograph was sent to the edge alone");
    assert_eq!(told["reports"].as_array().unwrap().len(), 1, "nothing of fundus beside: {told}");
    for image in told["images"].as_array().unwrap() {
        assert!(image["series_description"].as_str().unwrap().contains("eyes"), "{image}");
    }
    let mode = format!("{}/api/v1/programs/echo-regurgitation/mode", clinic.site.service);
    let order = json!({"mode": "review-all", "reason": "a test"}).to_string();
    let answer = request("PUT", &mode, &[("content-type", "application/json")], order.as_bytes()).unwrap();
    assert!(answer.status == 409 && answer.text().contains("research only"), "{}", answer.text());
}

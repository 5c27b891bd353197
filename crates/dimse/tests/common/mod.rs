//! What the tests of this room share: a receiver that keeps what it got, files to send, certificates.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses some of it; a panic is how a test fails")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use overread_dimse::{
    AeTitle, Caller, CommitmentReport, Peer, ReceivedObject, Receiver, Scp, ScpConfig, ScpHandle, StoreStatus,
};

pub const CT: &str = uids::CT_IMAGE_STORAGE;

/// An object as the receiver saw it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub from: Caller,
    pub sop_instance: String,
    pub transfer_syntax: String,
    pub sha256: String,
    pub file: Vec<u8>,
}

/// Keeps everything in memory.
pub struct Keeper {
    pub folder: tempfile::TempDir,
    pub kept: Mutex<Vec<Kept>>,
    pub reports: Mutex<Vec<CommitmentReport>>,
    pub early: Mutex<Option<StoreStatus>>,
    pub panics: AtomicBool,
}

impl Receiver for Keeper {
    fn store(&self, from: &Caller, object: ReceivedObject) -> StoreStatus {
        assert!(!self.panics.load(Ordering::SeqCst), "the test asked for a panic");
        let file = std::fs::read(&object.file).unwrap();
        assert_eq!(file.len() as u64, object.bytes);
        self.kept.lock().unwrap().push(Kept {
            from: from.clone(),
            sop_instance: object.sop_instance.as_str().to_owned(),
            transfer_syntax: object.transfer_syntax,
            sha256: object.sha256.as_str().to_owned(),
            file,
        });
        StoreStatus::Success
    }

    fn committed(&self, _from: &Caller, report: CommitmentReport) -> bool {
        self.reports.lock().unwrap().push(report);
        true
    }

    fn staging(&self) -> &Path {
        self.folder.path()
    }

    fn refuse_early(&self) -> Option<StoreStatus> {
        *self.early.lock().unwrap()
    }
}

impl Keeper {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            folder: tempfile::tempdir().unwrap(),
            kept: Mutex::default(),
            reports: Mutex::default(),
            early: Mutex::default(),
            panics: AtomicBool::new(false),
        })
    }

    pub fn count(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    /// Files that are in staging now.
    pub fn staged(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count()
    }
}

pub fn config() -> ScpConfig {
    ScpConfig {
        ae_title: ae("OVERREAD"),
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: None,
        accept_any_called: false,
        calling: Vec::new(),
        max_associations: 16,
        idle: Duration::from_secs(30),
        negotiation: Duration::from_secs(10),
        max_object_bytes: 64 << 20,
        max_pdu: 256 * 1024,
    }
}

pub fn start(config: ScpConfig) -> (ScpHandle, Arc<Keeper>) {
    let keeper = Keeper::new();
    let receiver: Arc<dyn Receiver> = keeper.clone();
    (Scp::start(config, receiver).unwrap(), keeper)
}

pub fn ae(title: &str) -> AeTitle {
    AeTitle::parse(title).unwrap()
}

/// The test's own requestor, calling `OVERREAD` at a port of this machine.
pub fn peer(port: u16) -> Peer {
    Peer {
        ae_title: ae("OVERREAD"),
        our_ae_title: ae("TESTER"),
        host: "127.0.0.1".to_owned(),
        port,
        tls: None,
        connect: Duration::from_secs(10),
        answer: Duration::from_secs(20),
    }
}

/// Waits until a condition holds; generous, since it only decides when to give up.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A small CT slice in a file; `instance` is the last component of its SOP Instance UID.
pub fn slice(folder: &Path, instance: u32, transfer_syntax: &str) -> PathBuf {
    let uid = format!("1.2.826.0.1.3680043.10.1.{instance}");
    let mut object = InMemDicomObject::new_empty();
    let mut put = |tag: Tag, vr: VR, value: PrimitiveValue| {
        object.put(DataElement::new(tag, vr, value));
    };
    put(tags::SOP_CLASS_UID, VR::UI, CT.into());
    put(tags::SOP_INSTANCE_UID, VR::UI, uid.as_str().into());
    put(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.826.0.1.3680043.10.2".into());
    put(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.826.0.1.3680043.10.3".into());
    put(tags::PATIENT_ID, VR::LO, "TEST".into());
    put(tags::MODALITY, VR::CS, "CT".into());
    put(tags::ROWS, VR::US, 64u16.into());
    put(tags::COLUMNS, VR::US, 64u16.into());
    put(tags::SAMPLES_PER_PIXEL, VR::US, 1u16.into());
    put(tags::BITS_ALLOCATED, VR::US, 16u16.into());
    put(tags::BITS_STORED, VR::US, 16u16.into());
    put(tags::HIGH_BIT, VR::US, 15u16.into());
    put(tags::PIXEL_REPRESENTATION, VR::US, 0u16.into());
    put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".into());
    put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16((0..4096u16).collect()));
    let file = object.with_exact_meta(
        FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(CT)
            .media_storage_sop_instance_uid(uid)
            .transfer_syntax(transfer_syntax)
            .build()
            .unwrap(),
    );
    let path = folder.join(format!("{instance}.dcm"));
    file.write_to_file(&path).unwrap();
    path
}

/// The data set of a DICOM file, as bytes.
pub fn data_set(file: &[u8]) -> &[u8] {
    assert_eq!(&file[128..132], b"DICM");
    let group_length = u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
    &file[144 + group_length..]
}

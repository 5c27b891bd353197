//! Several threads over the parts of one study, each with codecs and a session of its own.
//!
//! A session that computes on two threads takes more of both than two sessions of one thread each, because its threads wait for one
//! another. So what is large enough to be parted (a series, a slide) is parted; a single picture gets one session on all cores.

use std::sync::Arc;

use overread_dicom::parallel::{self, Lost};
use overread_dicom::read::CodecHost;
use overread_infer::{Engine, InferError, Pack, Runtime};

/// What one thread works with.
pub(crate) struct Hand {
    codec: CodecHost,
    /// Made by the thread when it begins.
    engine: Option<Engine>,
}

/// The threads of a reader for one pack.
pub(crate) struct Crew {
    runtime: Runtime,
    pack: Arc<Pack>,
    hands: Vec<Hand>,
}

impl Crew {
    pub(crate) fn new(runtime: Runtime, pack: Arc<Pack>, codec: &CodecHost, threads: usize) -> Self {
        let hand = |_| Hand { codec: codec.another(), engine: None };
        Self { runtime, pack, hands: (0..threads.max(1)).map(hand).collect() }
    }

    /// How many threads there are.
    pub(crate) const fn threads(&self) -> usize {
        self.hands.len()
    }

    /// Does `work` on each part, the next part by the next thread that is free, and gives what came of them in their order. The first
    /// failure ends it.
    pub(crate) fn each<P: Sync, R: Send>(
        &mut self,
        parts: &[P],
        work: impl Fn(&mut CodecHost, &mut Engine, &P) -> Result<R, InferError> + Sync,
    ) -> Result<Vec<R>, InferError> {
        let (runtime, pack) = (&self.runtime, &self.pack);
        parallel::each(&mut self.hands, parts, |Hand { codec, engine }, part| {
            let engine = match engine {
                Some(engine) => engine,
                None => engine.insert(Engine::new(runtime, Arc::clone(pack), 1)?),
            };
            Ok(work(codec, engine, part)?)
        })
        .map_err(|Failed(e)| e)
    }
}

/// Why a part was not read.
struct Failed(InferError);

impl From<InferError> for Failed {
    fn from(e: InferError) -> Self {
        Self(e)
    }
}

impl From<Lost> for Failed {
    fn from(lost: Lost) -> Self {
        Self(InferError::Preprocess(lost.to_string()))
    }
}

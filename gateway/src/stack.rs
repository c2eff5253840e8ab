//! The whole tower stack, outermost first, in one place.
//!
//! A request goes down the list, its answer comes back up. The order is a type as well (see [`crate::call`]): a stack
//! without the layer that decides does not compile, because nothing else makes what the layers below it take.

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use curfew_policies::PolicySet;
use hyper::body::Incoming;
use tower::{Layer as _, Service, ServiceBuilder};

use crate::call::Answer;
use crate::clock::Clock;
use crate::guard::Guard;
use crate::layers::admit::AdmitLayer;
use crate::layers::ask::Asker;
use crate::layers::authenticate::{AuthenticateLayer, Authenticated};
use crate::layers::books::{Books, BooksLayer};
use crate::layers::classify::ClassifyLayer;
use crate::layers::enforce::EnforceLayer;
use crate::layers::gather::{GatherLayer, Sources};
use crate::layers::graph_token::GraphTokenLayer;
use crate::layers::note::NoteLayer;
use crate::layers::once::{Once, OnceLayer};
use crate::layers::pace::{PaceLayer, Pacer};
use crate::layers::respond::RespondLayer;
use crate::layers::shed::ShedLayer;
use crate::layers::watch::WatchLayer;
use crate::server::ConnInfo;
use crate::telemetry::Telemetry;
use crate::upstream::Upstream;

/// What the stack is built from: once for the process, shared by every connection.
#[derive(Clone)]
pub struct Parts {
    /// The policies in force.
    pub policies: Arc<ArcSwap<PolicySet>>,
    /// The time.
    pub clock: Clock,
    /// What callers are identified by.
    pub authenticated: Arc<Authenticated>,
    /// Where facts come from.
    pub sources: Arc<Sources>,
    /// What sends are paced by.
    pub pacer: Arc<Pacer>,
    /// What answers change.
    pub books: Arc<Books>,
    /// Whose token goes to Meta.
    pub token: GraphTokenLayer,
    /// The connection to Meta.
    pub upstream: Upstream,
    /// What came of sends that may be asked for again.
    pub once: Arc<Once>,
    /// What stands between the gateway and an outage.
    pub guard: Guard,
    /// Who hears what happens.
    pub telemetry: Telemetry,
}

/// The service of one connection.
pub fn stack(
    parts: &Parts,
    connection: ConnInfo,
) -> impl Service<http::Request<Incoming>, Response = Answer, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ use<> {
    // The gateway's own questions go out by the same door as everything else, with permits of their own.
    // Exchange -> request: Meta's token exists only from here inwards.
    let meta = parts.token.layer(parts.upstream.clone());
    // Exchange -> Exchange: what Meta makes of each is told.
    let meta = NoteLayer::new(parts.telemetry.clone()).layer(meta);
    // Exchange -> Exchange: only where an answer can be expected, and so many at once.
    let meta = ShedLayer::new(parts.guard.clone()).layer(meta);
    let asker = Asker::new(meta.clone());

    ServiceBuilder::new()
        // Outermost: refusals and failures are seen too.
        .layer(WatchLayer::new(Arc::new(connection), parts.telemetry.clone()))
        // Errors become answers; nothing above can fail.
        .layer(RespondLayer)
        // Seen -> Identified: the front door's verdict, then who asks. Nobody learns anything before they are known.
        .layer(AuthenticateLayer::new(
            Arc::clone(&parts.policies),
            Arc::clone(&parts.authenticated),
        ))
        // Identified -> Identified: no more requests than the gateway can hold, nor of one caller than its share.
        .layer(AdmitLayer::new(parts.guard.clone()))
        // Identified -> Classified: which operation it is, from the head alone.
        .layer(ClassifyLayer)
        // Classified -> Call: the body is read, and what policy needs to know is looked up or asked.
        .layer(GatherLayer::new(Arc::clone(&parts.sources), asker.clone()))
        // Call -> Permitted: the only minting point.
        .layer(EnforceLayer::new(parts.clock.clone()))
        // What was sent before under the same key is answered, not sent. Below Enforce: a refused send leaves no trace; above
        // the limits: a repeated one spends nothing.
        .layer(OnceLayer::new(Arc::clone(&parts.once)))
        // A send goes when its number's pace allows it.
        .layer(PaceLayer::new(Arc::clone(&parts.pacer)))
        // Permitted -> Exchange: what was permitted is sent, and what comes of it is booked before anybody is told.
        .layer(BooksLayer::new(Arc::clone(&parts.books), asker))
        // Through the guard, and out.
        .service(meta)
}

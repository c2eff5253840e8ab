//! The places of a send's body at which Meta documents media, links and context.

/// What is known of the place of a value.
///
/// Names come from the send bodies that Meta documents (Cloud API, "Messages", "Interactive messages", "Templates", "Payments", "Flows").
/// Keys are compared exactly: in another spelling they lead [`Elsewhere`](Place::Elsewhere).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// The body itself.
    Root,
    /// Where a media object is documented.
    Media(Row, Naming),
    /// JSON of the caller's own shape, handed to a Flow.
    FlowData(Row),
    /// The quote of a reply.
    Context,
    /// Beside a read receipt.
    TypingIndicator,

    Interactive,
    InteractiveHeader,
    InteractiveAction,
    InteractiveCards,
    InteractiveCard,
    InteractiveCardHeader,
    InteractiveParameters,
    FlowPayload,

    Order(Row),
    OrderItems(Row),
    OrderItem(Row),
    PaymentSettings,
    PaymentSetting,
    UpiIntentLink,

    Template,
    Components,
    Component,
    Parameters,
    Parameter,
    ButtonAction,
    ButtonOrderDetails,
    TemplateCards,
    TemplateCard,
    CardComponents,
    CardComponent,
    CardParameters,
    CardParameter,

    /// Anywhere else.
    Elsewhere,
}

/// Which template component must be round a place for it to be documented; known only when the component ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Row {
    /// None.
    Plain,
    /// `type: header`.
    Header,
    /// `type: header` inside `type: carousel`.
    CarouselHeader,
    /// `type: button`, `sub_type: order_details`.
    OrderButton,
    /// `type: button`, `sub_type: flow`.
    FlowButton,
}

/// How a documented media object may name its medium.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Naming {
    IdOrLink,
    /// No page says that an `id` works there.
    LinkOnly,
}

impl Place {
    /// The place of the member `key` of an object here.
    pub(super) fn member(self, key: &str) -> Self {
        use Naming::{IdOrLink, LinkOnly};
        match (self, key) {
            (Self::Root, "image" | "audio" | "video" | "document" | "sticker") => {
                Self::Media(Row::Plain, IdOrLink)
            }
            (Self::Root, "interactive") => Self::Interactive,
            (Self::Root, "template") => Self::Template,
            (Self::Root, "context") => Self::Context,
            (Self::Root, "typing_indicator") => Self::TypingIndicator,

            (Self::Interactive, "header") => Self::InteractiveHeader,
            (Self::Interactive, "action") => Self::InteractiveAction,
            (Self::InteractiveHeader, "image" | "video" | "document") => Self::Media(Row::Plain, IdOrLink),
            (Self::InteractiveAction, "cards") => Self::InteractiveCards,
            (Self::InteractiveAction, "parameters") => Self::InteractiveParameters,
            (Self::InteractiveCard, "header") => Self::InteractiveCardHeader,
            (Self::InteractiveCardHeader, "image" | "video") => Self::Media(Row::Plain, LinkOnly),
            (Self::InteractiveParameters, "order") => Self::Order(Row::Plain),
            (Self::InteractiveParameters, "payment_settings") => Self::PaymentSettings,
            (Self::InteractiveParameters, "flow_action_payload") => Self::FlowPayload,
            (Self::FlowPayload, "data") => Self::FlowData(Row::Plain),

            (Self::Order(row), "items") => Self::OrderItems(row),
            (Self::OrderItem(row), "image") => Self::Media(row, LinkOnly),
            (Self::PaymentSetting, "upi_intent_link") => Self::UpiIntentLink,

            (Self::Template, "components") => Self::Components,
            (Self::Component, "parameters") => Self::Parameters,
            (Self::Component, "cards") => Self::TemplateCards,
            (Self::Parameter, "image" | "video" | "document" | "gif") => Self::Media(Row::Header, IdOrLink),
            (Self::Parameter, "action") => Self::ButtonAction,
            (Self::ButtonAction, "flow_action_data") => Self::FlowData(Row::FlowButton),
            (Self::ButtonAction, "order_details") => Self::ButtonOrderDetails,
            (Self::ButtonOrderDetails, "order") => Self::Order(Row::OrderButton),
            (Self::ButtonOrderDetails, "payment_settings") => Self::PaymentSettings,
            (Self::TemplateCard, "components") => Self::CardComponents,
            (Self::CardComponent, "parameters") => Self::CardParameters,
            (Self::CardParameter, "image" | "video") => Self::Media(Row::CarouselHeader, IdOrLink),

            (Self::FlowData(row), _) => Self::FlowData(row),
            _ => Self::Elsewhere,
        }
    }

    /// The place of the elements of an array here.
    pub(super) const fn element(self) -> Self {
        match self {
            Self::InteractiveCards => Self::InteractiveCard,
            Self::OrderItems(row) => Self::OrderItem(row),
            Self::PaymentSettings => Self::PaymentSetting,
            Self::Components => Self::Component,
            Self::Parameters => Self::Parameter,
            Self::TemplateCards => Self::TemplateCard,
            Self::CardComponents => Self::CardComponent,
            Self::CardParameters => Self::CardParameter,
            Self::FlowData(row) => Self::FlowData(row),
            _ => Self::Elsewhere,
        }
    }

    /// Whether Meta documents an object or an array here, on the way to media.
    pub(super) const fn is_container(self) -> bool {
        !matches!(
            self,
            Self::Root | Self::Media(..) | Self::Context | Self::TypingIndicator | Self::Elsewhere
        )
    }

    /// Whether policy reads the members of an object here by name, beyond media and links.
    pub(super) const fn is_read(self) -> bool {
        !matches!(self, Self::Elsewhere | Self::FlowData(_))
    }
}

/// What one template component says it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Component {
    kind: Kind,
    button: Button,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Kind {
    Header,
    Button,
    Carousel,
    #[default]
    Other,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Button {
    Flow,
    OrderDetails,
    #[default]
    Other,
}

impl Component {
    /// Reads its `type`. Sends write it in lower case, creation in upper case; whether a send may do either is not
    /// documented, so case does not count.
    pub(super) fn set_kind(&mut self, text: &str) {
        self.kind = if text.eq_ignore_ascii_case("header") {
            Kind::Header
        } else if text.eq_ignore_ascii_case("button") {
            Kind::Button
        } else if text.eq_ignore_ascii_case("carousel") {
            Kind::Carousel
        } else {
            Kind::Other
        };
    }

    /// Reads its `sub_type`.
    pub(super) fn set_button(&mut self, text: &str) {
        self.button = if text.eq_ignore_ascii_case("flow") {
            Button::Flow
        } else if text.eq_ignore_ascii_case("order_details") {
            Button::OrderDetails
        } else {
            Button::Other
        };
    }

    /// Whether, as a component of the template itself, it may hold what needs `row`.
    pub(super) fn bears(self, row: Row) -> bool {
        match row {
            Row::Plain => true,
            Row::Header => self.kind == Kind::Header,
            Row::CarouselHeader => self.kind == Kind::Carousel,
            Row::OrderButton => self.kind == Kind::Button && self.button == Button::OrderDetails,
            Row::FlowButton => self.kind == Kind::Button && self.button == Button::Flow,
        }
    }

    /// Whether, as a component of a carousel's card, it may hold what needs `row`.
    pub(super) fn bears_in_card(self, row: Row) -> bool {
        row != Row::CarouselHeader || self.kind == Kind::Header
    }
}

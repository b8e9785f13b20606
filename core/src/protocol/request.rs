//! What clients ask for.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::id::{ConversationRef, GroupId, RequestId, Seq, UserId};
use crate::log::{GroupChange, JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::protocol::reply::Keep;
#[cfg(doc)]
use crate::protocol::reply::Reply;
use crate::secret::Secret;

/// A request with the number that its reply will carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The client's number; it need not be unique or rising.
    pub id: RequestId,
    /// What is asked.
    pub request: Request,
}

/// Everything that a client may ask. Values are within the protocol's limits: whoever builds a
/// request from outside input checks them, as [`decode`](crate::protocol::decode) does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `register`: makes an account.
    Register {
        /// The name, unique whatever the case.
        name: Name,
        /// The password, 8 to 256 bytes.
        password: Secret,
        /// The invitation code, where the server wants one.
        invite: Option<Secret>,
    },
    /// `login`: begins a session.
    Login {
        /// Whose.
        who: UserRef,
        /// The password.
        password: Secret,
        /// What the user calls this device.
        device: Option<SmolStr>,
        /// Where the session's cursors start.
        start: Start,
    },
    /// `login` with `jwt` alone: begins a session of an account for which another service vouches;
    /// the first one makes the account.
    LoginJwt {
        /// The other service's token (RFC 7519), of at most
        /// [`MAX_JWT_BYTES`](crate::protocol::MAX_JWT_BYTES).
        jwt: Secret,
        /// What the user calls this device.
        device: Option<SmolStr>,
        /// Where the session's cursors start.
        start: Start,
    },
    /// `resume`: goes on with a session by its token.
    Resume {
        /// The token that `login` gave.
        token: Secret,
        /// Where the session's cursors start.
        start: Start,
    },
    /// `logout`: ends this session; the connection stays.
    Logout,
    /// `password`: changes the password and ends every other session.
    Password {
        /// The present password.
        old: Secret,
        /// The password from now on.
        new: Secret,
    },
    /// `delete_account`: blanks the user's texts and frees the name.
    DeleteAccount {
        /// The present password.
        password: Secret,
    },
    /// `ping`: asks for the server's time.
    Ping,
    /// `user`: looks a user up.
    User {
        /// Whom.
        who: UserRef,
    },
    /// `friend_request`: asks for friendship.
    FriendRequest {
        /// Whom.
        who: UserRef,
    },
    /// `friend_accept`, `friend_reject`, `friend_remove`, `block`, `unblock`.
    Friend {
        /// Which of them.
        action: FriendAction,
        /// The other user.
        user: UserId,
    },
    /// `friends`: lists friendships of every state.
    Friends {
        /// Only users above this one.
        after: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// `group_create`: makes a group, owned by its maker.
    GroupCreate {
        /// The name.
        name: Name,
        /// What it is about.
        description: Arc<str>,
        /// How to join.
        join: JoinPolicy,
        /// Makes repeating safe.
        key: Option<Key>,
    },
    /// `group_join`, `group_leave`, `group_disband`.
    GroupSelf {
        /// Which of them.
        action: GroupSelfAction,
        /// The group.
        group: GroupId,
    },
    /// `group_invite`, `group_approve`, `group_reject`, `group_remove`.
    GroupOther {
        /// Which of them.
        action: GroupOtherAction,
        /// The group.
        group: GroupId,
        /// The user concerned.
        user: UserId,
    },
    /// `group_role`: gives a member a role.
    GroupRole {
        /// The group.
        group: GroupId,
        /// The member concerned.
        user: UserId,
        /// The role from now on.
        role: Role,
    },
    /// `group_update`: changes what the group says of itself.
    GroupUpdate {
        /// The group.
        group: GroupId,
        /// What to change; may be nothing.
        change: GroupChange,
    },
    /// `group`: looks a group up.
    Group {
        /// The group.
        group: GroupId,
    },
    /// `group_members`: lists the members.
    GroupMembers {
        /// The group.
        group: GroupId,
        /// Only users above this one.
        after: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// `group_requests`: lists who asked to join.
    GroupRequests {
        /// The group.
        group: GroupId,
        /// Only users above this one.
        after: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// `groups`: lists the user's groups.
    Groups {
        /// Only groups above this one.
        after: Option<GroupId>,
        /// At most so many.
        limit: u32,
    },
    /// `conversations`: lists the user's conversations with their positions.
    Conversations {
        /// Only conversations behind this one: direct ones come before groups, each by id.
        after: Option<ConversationRef>,
        /// At most so many.
        limit: u32,
    },
    /// `send`: adds a message to a conversation.
    Send {
        /// Where to.
        to: ConversationRef,
        /// One key, one message, for good.
        key: Key,
        /// 1 byte to 16 KiB.
        text: Arc<str>,
        /// The entry that it answers.
        reply_to: Option<Seq>,
        /// A JSON object, compact, at most 4 KiB.
        meta: Option<Arc<str>>,
    },
    /// `edit`: replaces a message's text.
    Edit {
        /// Where.
        conversation: ConversationRef,
        /// Which message.
        seq: Seq,
        /// 1 byte to 16 KiB.
        text: Arc<str>,
    },
    /// `recall`: erases a message's text.
    Recall {
        /// Where.
        conversation: ConversationRef,
        /// Which message.
        seq: Seq,
    },
    /// `ack`: says how far this user has got; `read` implies `delivered`.
    Ack {
        /// Where.
        conversation: ConversationRef,
        /// Everything up to here has arrived.
        delivered: Option<Seq>,
        /// Everything up to here was read.
        read: Option<Seq>,
    },
    /// `typing`: tells the others that the user is writing.
    Typing {
        /// Where.
        to: ConversationRef,
    },
    /// `history`: reads a conversation's log.
    History {
        /// Where.
        conversation: ConversationRef,
        /// Which part of it.
        anchor: Anchor,
        /// At most so many entries.
        limit: u32,
    },
}

/// A user, by either of the two ways to name one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRef {
    /// By number.
    Id(UserId),
    /// By name, whatever the case.
    Name(Name),
}

/// Where a session's cursors start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whether entries since `delivered` are pushed; else only what is new from now on.
    pub replay: bool,
    /// What the client has already, whatever `replay` says.
    pub have: Vec<(ConversationRef, Seq)>,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            replay: true,
            have: Vec::new(),
        }
    }
}

/// What one does about another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FriendAction {
    /// `friend_accept`.
    Accept,
    /// `friend_reject`.
    Reject,
    /// `friend_remove`.
    Remove,
    /// `block`.
    Block,
    /// `unblock`.
    Unblock,
}

/// What one does about oneself and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupSelfAction {
    /// `group_join`.
    Join,
    /// `group_leave`.
    Leave,
    /// `group_disband`.
    Disband,
}

/// What a manager does about another user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupOtherAction {
    /// `group_invite`.
    Invite,
    /// `group_approve`.
    Approve,
    /// `group_reject`.
    Reject,
    /// `group_remove`.
    Remove,
}

/// Which part of a log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The newest entries.
    Newest,
    /// The first entries above this one.
    After(Seq),
    /// The last entries below this one.
    Before(Seq),
}

/// What a request's `ok` looks like: replies do not say it themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// [`Reply::Done`].
    Done,
    /// [`Reply::Registered`].
    Registered,
    /// [`Reply::Session`].
    Session,
    /// [`Reply::Token`].
    Token,
    /// [`Reply::Pong`].
    Pong,
    /// [`Reply::User`].
    User,
    /// [`Reply::FriendRequested`].
    FriendRequested,
    /// [`Reply::FriendState`].
    FriendState,
    /// [`Reply::Friends`].
    Friends,
    /// [`Reply::GroupCreated`].
    GroupCreated,
    /// [`Reply::GroupJoined`].
    GroupJoined,
    /// [`Reply::Group`].
    Group,
    /// [`Reply::Members`].
    Members,
    /// [`Reply::Requests`].
    Requests,
    /// [`Reply::Groups`].
    Groups,
    /// [`Reply::Conversations`].
    Conversations,
    /// [`Reply::Appended`].
    Appended,
    /// [`Reply::History`].
    History(
        /// The end that was asked for.
        Keep,
    ),
}

impl Request {
    /// Every `op` on the wire.
    pub const OPS: [&'static str; 36] = [
        "register",
        "login",
        "resume",
        "logout",
        "password",
        "delete_account",
        "ping",
        "user",
        "friend_request",
        "friend_accept",
        "friend_reject",
        "friend_remove",
        "block",
        "unblock",
        "friends",
        "group_create",
        "group_join",
        "group_leave",
        "group_disband",
        "group_invite",
        "group_approve",
        "group_reject",
        "group_remove",
        "group_role",
        "group_update",
        "group",
        "group_members",
        "group_requests",
        "groups",
        "conversations",
        "send",
        "edit",
        "recall",
        "ack",
        "typing",
        "history",
    ];

    /// Returns what kind of reply answers this request, if not an error.
    #[must_use]
    pub const fn reply_kind(&self) -> ReplyKind {
        match self {
            Self::Register { .. } => ReplyKind::Registered,
            Self::Login { .. } | Self::LoginJwt { .. } | Self::Resume { .. } => ReplyKind::Session,
            Self::Password { .. } => ReplyKind::Token,
            Self::Ping => ReplyKind::Pong,
            Self::User { .. } => ReplyKind::User,
            Self::FriendRequest { .. } => ReplyKind::FriendRequested,
            Self::Friend { .. } => ReplyKind::FriendState,
            Self::Friends { .. } => ReplyKind::Friends,
            Self::GroupCreate { .. } => ReplyKind::GroupCreated,
            Self::GroupSelf {
                action: GroupSelfAction::Join,
                ..
            } => ReplyKind::GroupJoined,
            Self::Group { .. } => ReplyKind::Group,
            Self::GroupMembers { .. } => ReplyKind::Members,
            Self::GroupRequests { .. } => ReplyKind::Requests,
            Self::Groups { .. } => ReplyKind::Groups,
            Self::Conversations { .. } => ReplyKind::Conversations,
            Self::Send { .. } | Self::Edit { .. } | Self::Recall { .. } => ReplyKind::Appended,
            Self::History { anchor, .. } => ReplyKind::History(match anchor {
                Anchor::After(_) => Keep::First,
                Anchor::Newest | Anchor::Before(_) => Keep::Last,
            }),
            Self::Logout
            | Self::DeleteAccount { .. }
            | Self::GroupSelf {
                action: GroupSelfAction::Leave | GroupSelfAction::Disband,
                ..
            }
            | Self::GroupOther { .. }
            | Self::GroupRole { .. }
            | Self::GroupUpdate { .. }
            | Self::Ack { .. }
            | Self::Typing { .. } => ReplyKind::Done,
        }
    }

    /// Returns the request's `op` on the wire.
    #[must_use]
    pub const fn op(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::Login { .. } | Self::LoginJwt { .. } => "login",
            Self::Resume { .. } => "resume",
            Self::Logout => "logout",
            Self::Password { .. } => "password",
            Self::DeleteAccount { .. } => "delete_account",
            Self::Ping => "ping",
            Self::User { .. } => "user",
            Self::FriendRequest { .. } => "friend_request",
            Self::Friend { action, .. } => match action {
                FriendAction::Accept => "friend_accept",
                FriendAction::Reject => "friend_reject",
                FriendAction::Remove => "friend_remove",
                FriendAction::Block => "block",
                FriendAction::Unblock => "unblock",
            },
            Self::Friends { .. } => "friends",
            Self::GroupCreate { .. } => "group_create",
            Self::GroupSelf { action, .. } => match action {
                GroupSelfAction::Join => "group_join",
                GroupSelfAction::Leave => "group_leave",
                GroupSelfAction::Disband => "group_disband",
            },
            Self::GroupOther { action, .. } => match action {
                GroupOtherAction::Invite => "group_invite",
                GroupOtherAction::Approve => "group_approve",
                GroupOtherAction::Reject => "group_reject",
                GroupOtherAction::Remove => "group_remove",
            },
            Self::GroupRole { .. } => "group_role",
            Self::GroupUpdate { .. } => "group_update",
            Self::Group { .. } => "group",
            Self::GroupMembers { .. } => "group_members",
            Self::GroupRequests { .. } => "group_requests",
            Self::Groups { .. } => "groups",
            Self::Conversations { .. } => "conversations",
            Self::Send { .. } => "send",
            Self::Edit { .. } => "edit",
            Self::Recall { .. } => "recall",
            Self::Ack { .. } => "ack",
            Self::Typing { .. } => "typing",
            Self::History { .. } => "history",
        }
    }
}

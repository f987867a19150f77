//! Names of errors. A state machine matches a function's error by its `errorType`, so these are contracts: a test compares
//! them with every `ErrorEquals` in `statemachines/`.

macro_rules! names {
    ($($(#[$doc:meta])* $module:ident { $($(#[$item_doc:meta])* $name:ident = $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            pub mod $module {
                $($(#[$item_doc])* pub const $name: &str = $text;)*
            }
        )*
        /// Every name that a function of ours may fail with.
        pub const ALL: &[&str] = &[$($($text,)*)*];
    };
}

names! {
    dispatcher {
        /// The message is not one of ours; it will end in the dead-letter queue.
        BAD_MESSAGE = "Dispatcher.BadMessage",
        START_FAILED = "Dispatcher.StartFailed",
    }
    source {
        REPOSITORY_NOT_FOUND = "Source.RepositoryNotFound",
        REF_NOT_FOUND = "Source.RefNotFound",
        ACCESS_DENIED = "Source.AccessDenied",
        /// The address is not public.
        ADDRESS_REFUSED = "Source.AddressRefused",
        TOO_LARGE = "Source.TooLarge",
        ARCHIVE_REFUSED = "Source.ArchiveRefused",
        EMPTY = "Source.Empty",
        UPLOAD_MISSING = "Source.UploadMissing",
        /// Worth another try: the host or S3 does not answer.
        UNAVAILABLE = "Source.Unavailable",
        /// Another try would be refused as well: a permission or the configuration is wrong.
        STORAGE_REFUSED = "Source.StorageRefused",
        BAD_INPUT = "Source.BadInput",
    }
    planner {
        SNAPSHOT_UNREADABLE = "Planner.SnapshotUnreadable",
        NOTHING_TO_SCAN = "Planner.NothingToScan",
        /// Worth another try.
        STORAGE_UNAVAILABLE = "Planner.StorageUnavailable",
        /// Another try would be refused as well: a permission or the configuration is wrong.
        STORAGE_REFUSED = "Planner.StorageRefused",
        BAD_INPUT = "Planner.BadInput",
    }
    runner {
        TICKET_UNREADABLE = "Runner.TicketUnreadable",
        SNAPSHOT_UNREADABLE = "Runner.SnapshotUnreadable",
        ENGINE_MISSING = "Runner.EngineMissing",
        ENGINE_CRASHED = "Runner.EngineCrashed",
        REPORT_UNREADABLE = "Runner.ReportUnreadable",
        /// The engine ended as if all were well, and opened none of its files.
        NOTHING_ASSESSED = "Runner.NothingAssessed",
        /// More time than Lambda has: Batch has more.
        TIMED_OUT = "Runner.TimedOut",
        /// One size up.
        OUT_OF_MEMORY = "Runner.OutOfMemory",
        /// Worth another try.
        STORAGE_UNAVAILABLE = "Runner.StorageUnavailable",
        /// The job was told to stop.
        TERMINATED = "Runner.Terminated",
        BAD_INPUT = "Runner.BadInput",
    }
    recorder {
        /// Worth another try, for long: the database may be asleep or failing over.
        DATABASE_UNAVAILABLE = "Recorder.DatabaseUnavailable",
        /// Worth another try.
        STORAGE_UNAVAILABLE = "Recorder.StorageUnavailable",
        /// Another try would be refused as well: a permission or the configuration is wrong.
        STORAGE_REFUSED = "Recorder.StorageRefused",
        BAD_INPUT = "Recorder.BadInput",
        DATABASE_REJECTED = "Recorder.DatabaseRejected",
    }
    aggregator {
        /// Worth another try, for long.
        DATABASE_UNAVAILABLE = "Aggregator.DatabaseUnavailable",
        /// Worth a few tries: a statement took longer than it may.
        DATABASE_TIMED_OUT = "Aggregator.DatabaseTimedOut",
        /// Worth another try.
        STORAGE_UNAVAILABLE = "Aggregator.StorageUnavailable",
        PLAN_UNREADABLE = "Aggregator.PlanUnreadable",
        DATABASE_REJECTED = "Aggregator.DatabaseRejected",
        /// Another try would be refused as well: a permission or the configuration is wrong.
        STORAGE_REFUSED = "Aggregator.StorageRefused",
        BAD_INPUT = "Aggregator.BadInput",
    }
    notifier {
        /// Worth another try.
        STORAGE_UNAVAILABLE = "Notifier.StorageUnavailable",
        /// Worth another try: a receiver did not answer, or asked to come back later.
        DELIVERY_UNAVAILABLE = "Notifier.DeliveryUnavailable",
        /// Another try would be refused as well: a permission or the configuration is wrong.
        STORAGE_REFUSED = "Notifier.StorageRefused",
        BAD_INPUT = "Notifier.BadInput",
    }
    inspector {
        /// Worth another try, for long.
        DATABASE_UNAVAILABLE = "Inspector.DatabaseUnavailable",
        /// Worth another try.
        STORAGE_UNAVAILABLE = "Inspector.StorageUnavailable",
        /// Another try would be refused as well: a permission or the configuration is wrong.
        STORAGE_REFUSED = "Inspector.StorageRefused",
        DATABASE_REJECTED = "Inspector.DatabaseRejected",
        /// The file is gone, is another one than the event spoke of, or is larger than a batch may be.
        FILE_UNUSABLE = "Inspector.FileUnusable",
        /// Of a small batch: places change faster than it can be checked.
        INCOMPLETE = "Inspector.Incomplete",
        BAD_INPUT = "Inspector.BadInput",
    }
    loader {
        /// Worth another try, for long.
        DATABASE_UNAVAILABLE = "Loader.DatabaseUnavailable",
        /// Worth another try.
        STORAGE_UNAVAILABLE = "Loader.StorageUnavailable",
        /// Another try would be refused as well: a permission or the configuration is wrong.
        STORAGE_REFUSED = "Loader.StorageRefused",
        DATABASE_REJECTED = "Loader.DatabaseRejected",
        /// The file is gone, or is another one than was inspected.
        FILE_UNUSABLE = "Loader.FileUnusable",
        /// There is no room for the list of bad rows: Batch has more.
        DISK_FULL = "Loader.DiskFull",
        BAD_INPUT = "Loader.BadInput",
        /// On Batch: the job was told to stop.
        TERMINATED = "Loader.Terminated",
    }
    publisher {
        /// Worth another try, for long.
        DATABASE_UNAVAILABLE = "Publisher.DatabaseUnavailable",
        /// Worth another try.
        STORAGE_UNAVAILABLE = "Publisher.StorageUnavailable",
        /// Another try would be refused as well: a permission or the configuration is wrong.
        STORAGE_REFUSED = "Publisher.StorageRefused",
        DATABASE_REJECTED = "Publisher.DatabaseRejected",
        /// A range was not loaded.
        INCOMPLETE = "Publisher.Incomplete",
        BAD_INPUT = "Publisher.BadInput",
    }
    migrate {
        /// Worth another try.
        DATABASE_UNAVAILABLE = "Migrate.DatabaseUnavailable",
        FAILED = "Migrate.Failed",
    }
}

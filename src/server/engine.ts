/** The parts of the service beneath its HTTP face, how they know each other, and when they begin and end. */

import type { Observer } from "../domain/events.js";
import type { Clock } from "../domain/time.js";
import { HostAllowance } from "../lib/host-allowance.js";
import { singleUploadBytesMax } from "../protocol/limits.js";
import { VaultLocks } from "./access/vault-lock.js";
import { Background } from "./background.js";
import type { CasState } from "./http/exchange.js";
import { Inventory } from "./jobs/inventory.js";
import { JobAnnouncer } from "./jobs/job-announcer.js";
import { JobCopier } from "./jobs/job-copier.js";
import { JobOrders, type RetrievalTimes } from "./jobs/job-orders.js";
import { JobStore } from "./jobs/job-store.js";
import { NotificationSender } from "./notifications/notification-sender.js";
import type { TargetOptions } from "./notifications/notification-target.js";
import type { ObjectStore } from "./objects/object-store.js";
import type { ArchiveStore } from "./store/archive-store.js";
import { MultipartStore } from "./store/multipart-store.js";

export interface EngineOptions {
  /** As in `ap-chengdu`; stands in resource names. */
  readonly region: string;
  readonly retrievalMs: RetrievalTimes;
  /** A period after which a changed vault gets a new inventory; 0 takes a new one for every inventory job. */
  readonly inventoryIntervalMs: number;
  readonly outputLifetimeMs: number;
  /** Counted from the last activity of an upload. */
  readonly uploadLifetimeMs: number;
  /** Takes part sizes of any number of MiB (cas-api section 16, row 2). */
  readonly lenientPartSize?: boolean | undefined;
  /** Largest body of one Upload Archive (cas-api section 16, row 4). */
  readonly singleUploadBytesMax?: number | undefined;
  /** Hosts that may be notified of completed jobs, as `HostAllowance` takes them; without it those of this machine. */
  readonly notifyHosts?: readonly string[] | undefined;
  /** Resolves the names of hosts to be notified; without it the system does. */
  readonly lookup?: TargetOptions["lookup"];
  readonly clock: Clock;
  readonly observer?: Observer | undefined;
}

/** The loopback interface: a service for one machine must not be a way to reach others. */
const ownMachine = ["127.0.0.0/8", "[::1]", "localhost"];

export class Engine {
  readonly state: CasState;
  readonly #background: Background;
  readonly #announcer: JobAnnouncer;
  readonly #sender: NotificationSender;
  readonly #copier: JobCopier | undefined;

  /** @param objects What jobs copy from and to; closed with the engine. Without it such jobs are refused. */
  constructor(store: ArchiveStore, objects: ObjectStore | undefined, options: EngineOptions) {
    this.#background = new Background(options);
    const inventory = new Inventory(store, { intervalMs: options.inventoryIntervalMs });
    this.#announcer = new JobAnnouncer(store, options);
    const work = {
      ...options,
      random: () => store.randomNumber(),
      onProgress: () => this.#background.expect(store.now()),
    };
    const allowance = new HostAllowance(options.notifyHosts ?? ownMachine);
    this.#sender = new NotificationSender(store, { ...work, allowance });
    this.#copier = objects === undefined ? undefined : new JobCopier(store, objects, this.#announcer, work);
    this.state = {
      store,
      inventory,
      uploads: new MultipartStore(store, { ...options, lifetimeMs: options.uploadLifetimeMs }),
      singleUploadBytesMax: options.singleUploadBytesMax ?? singleUploadBytesMax,
      orders: new JobOrders(store, inventory, {
        ...options,
        takesCopies: objects !== undefined,
        onScheduled: (readyAtMs) => this.#background.expect(readyAtMs),
      }),
      jobs: new JobStore(store),
      locks: new VaultLocks(store),
    };
  }

  /** Does what became due while the service was not running, and goes on with it as time passes. */
  start(): void {
    const { inventory, uploads, jobs } = this.state;
    this.#background.start([
      { name: "Taking inventories", run: () => inventory.takeDue() },
      { name: "Announcing completed jobs", run: () => this.#announcer.announceDue() },
      { name: "Sending notifications", run: () => this.#sender.send() },
      { name: "Copying from and to COS", run: () => this.#copier?.begin() },
      { name: "Forgetting uploads", run: () => uploads.expire() },
      { name: "Forgetting jobs", run: () => jobs.expire() },
    ]);
  }

  /** Whatever was due before now has happened when this returns. */
  catchUp(): void {
    this.#background.catchUp();
  }

  async close(): Promise<void> {
    await this.#background.close();
    await this.#copier?.close();
    await this.#sender.close();
  }
}

/** How a worker of `mount-supervisor.ts` knows what it serves: by its environment. */

export const workerVariable = "CASFS_MOUNT_WORKER";

export interface WorkerTask {
  readonly mountpoint: string;
  readonly fileDescriptor: number;
  /** How many workers have served the mount before. */
  readonly generation: number;
}

/** The task of this process, if it is a worker; its children are none. */
export function takeWorkerTask(environment: NodeJS.ProcessEnv): WorkerTask | undefined {
  const text = environment[workerVariable];
  delete environment[workerVariable];
  return text === undefined ? undefined : (JSON.parse(text) as WorkerTask);
}

import { directoryConformance } from "./directory.conformance.ts";
import { MemoryDirectory } from "./directory.memory.ts";

directoryConformance("memory", async (loginAuditEntries) => new MemoryDirectory({ loginAuditEntries }));

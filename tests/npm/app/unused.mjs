// A page that imports the client and does not use it.
import { WSRedis } from "wsredis";
import { register } from "wsredis/htmx";

globalThis.run = async () => "unused";

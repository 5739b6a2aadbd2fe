/** The conversation that the task belongs to. */
import { listMessages } from "#api";
import { ApiError } from "../../api/client";
import { useResource } from "../../api/resource";
import { Ago, Empty, Failure, Loading } from "../../components/basics";
import { Icon } from "../../components/icons";
import { Markdown } from "../../components/markdown";
import { messageText } from "../../state/conversation";
import type { ViewProps } from "./task";

export function ThreadTab({ id, task }: ViewProps) {
  const thread = encodeURIComponent(task.threadId);
  const read = useResource(listMessages(task.threadId), 5000);
  const none = read.error instanceof ApiError && read.error.status === 404;
  if (read.error && !none && !read.data) return <Failure error={read.error} retry={read.reload} />;
  if (!read.data && !none) return <Loading />;
  const messages = read.data?.messages ?? [];
  const goOn = <a class="button is-plain" href={`/chat/${thread}`}><Icon name="chat" size={14} /><span>Go on talking</span></a>;
  if (messages.length === 0) return <Empty icon="chat" title="Nothing was said here" action={goOn}><p>The task was started outright, not by a message in a chat.</p></Empty>;
  return (
    <div class="pad thread">
      {messages.map((message) => (
        <article key={message.id} class={`message is-${message.role}${message.taskId === id ? " is-here" : ""}`}>
          <header><strong>{message.role === "user" ? "You" : "Longhaul"}</strong><span class="faint"><Ago at={message.createdAt} /></span></header>
          <Markdown text={messageText(message)} />
        </article>
      ))}
      {goOn}
    </div>
  );
}
